targetScope = 'subscription'

@description('Name of the environment; every resource name derives from it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of all resources; it must offer the Flex Consumption plan with Python 3.13.')
@minLength(1)
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Prefix of every table, queue and container; several schedulers can share one storage account.')
@minLength(3)
@maxLength(20)
param schedulerName string = 'scheduler'

@description('IANA time zones with a queue trigger of their own. Every other zone works too, through the relay.')
@minLength(1)
param timezones string[] = [
  'UTC'
  'America/New_York'
  'America/Los_Angeles'
  'Europe/London'
  'Asia/Tokyo'
  'Asia/Kolkata'
]

@description('Named connections (letters, digits, _). Each reads the vault secret SCHEDULER-CONNECTION-<NAME>.')
param connectionNames string[] = []

@description('More app settings without secrets: setting name to text.')
param extraSettings object = {}

@description('Instances kept warm for the HTTP functions. Billed while idle.')
@minValue(0)
param alwaysReadyHttp int = 0

@description('Instances kept warm for single functions: function name to count. Billed while idle.')
param alwaysReadyFunctions object = {}

@description('Memory of one instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Most instances at once, over all functions.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 100

@description('Days that executions, their outputs and unused definitions are kept.')
@minValue(1)
@maxValue(36500)
param executionRetentionDays int = 90

@description('Days that logs and telemetry are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Days that a deleted vault or secret can be recovered. Fixed once the vault exists.')
@minValue(7)
@maxValue(90)
param vaultRetentionDays int = 90

@description('Object id of whoever deploys or debugs: gets the data roles and may write secrets. Empty: nobody.')
param developerPrincipalId string = ''

@description('Kind of that principal.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param developerPrincipalType string = 'User'

var names = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var appName = '${names.functionApp}${token}'
var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${names.resourceGroup}${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: '${names.identity}${token}'
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: '${names.storageAccount}${token}'
    location: location
    tags: tags
    deploymentContainerName: 'app-package'
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: '${names.logAnalytics}${token}'
    applicationInsightsName: '${names.applicationInsights}${token}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: '${names.keyVault}${token}'
    location: location
    tags: tags
    retentionDays: vaultRetentionDays
  }
}

module appRoles 'modules/roles.bicep' = {
  name: 'roles-app'
  scope: group
  params: {
    storageAccountName: storage.outputs.name
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    keyVaultName: vault.outputs.name
    principalId: identity.outputs.principalId
    principalType: 'ServicePrincipal'
    mayWriteSecrets: false
  }
}

module developerRoles 'modules/roles.bicep' = if (!empty(developerPrincipalId)) {
  name: 'roles-developer'
  scope: group
  params: {
    storageAccountName: storage.outputs.name
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    keyVaultName: vault.outputs.name
    principalId: developerPrincipalId
    principalType: developerPrincipalType
    mayWriteSecrets: true
  }
}

module api 'modules/function.bicep' = {
  name: 'function'
  scope: group
  dependsOn: [appRoles]
  params: {
    name: appName
    planName: '${names.plan}${token}'
    location: location
    tags: tags
    identityName: identity.outputs.name
    storageAccountName: storage.outputs.name
    deploymentContainerName: storage.outputs.deploymentContainerName
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    keyVaultName: vault.outputs.name
    schedulerName: schedulerName
    timezones: timezones
    executionRetentionDays: executionRetentionDays
    connectionNames: connectionNames
    extraSettings: extraSettings
    alwaysReadyHttp: alwaysReadyHttp
    alwaysReadyFunctions: alwaysReadyFunctions
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
  }
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output AZURE_STORAGE_ACCOUNT_NAME string = storage.outputs.name
output SERVICE_API_NAME string = api.outputs.name
output SERVICE_API_URI string = api.outputs.uri
