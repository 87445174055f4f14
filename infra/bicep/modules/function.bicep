@description('Name of the function app.')
param name string

@description('Name of the Flex Consumption plan.')
param planName string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('User-assigned identity that the app runs as.')
param identityName string

@description('Storage account of the app.')
param storageAccountName string

@description('Blob container that holds the deployed package.')
param deploymentContainerName string

@description('Application Insights component that the app reports to.')
param applicationInsightsName string

@description('Vault that holds the app\'s secrets.')
param keyVaultName string

@description('Prefix of every table, queue and container.')
param schedulerName string

@description('IANA time zones with a queue trigger of their own.')
param timezones string[]

@description('Days that executions, their outputs and unused definitions are kept.')
param executionRetentionDays int

@description('Named connections whose text is a vault secret.')
param connectionNames string[]

@description('More app settings without secrets.')
param extraSettings object

@description('Instances kept warm for the HTTP functions.')
param alwaysReadyHttp int

@description('Instances kept warm for single functions: function name to count.')
param alwaysReadyFunctions object

@description('Memory of one instance in MB.')
param instanceMemoryMB int

@description('Most instances at once.')
param maximumInstanceCount int

var ownSecrets = [
  'SCHEDULER_ADMIN_KEY'
  'SCHEDULER_KEY_PEPPER'
  'SCHEDULER_ENCRYPTION_KEYS'
]
var connectionSecrets = map(connectionNames, connection => 'SCHEDULER_CONNECTION_${toUpper(connection)}')
// A vault allows no underscore in a secret's name.
var secrets = map(concat(ownSecrets, connectionSecrets), setting => {
  setting: setting
  secret: replace(setting, '_', '-')
})
var secretSettings = toObject(secrets, item => item.setting, item => '@Microsoft.KeyVault(VaultName=${keyVaultName};SecretName=${item.secret})')

var warmHttp = {
  name: 'http'
  instanceCount: alwaysReadyHttp
}
var warmFunctions = map(items(alwaysReadyFunctions), item => {
  name: 'function:${item.key}'
  instanceCount: item.value
})
var alwaysReady = ((alwaysReadyHttp > 0) ? concat([warmHttp], warmFunctions) : warmFunctions)

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' existing = {
  name: identityName
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageAccountName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'api'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    clientAffinityEnabled: false
    httpsOnly: true
    keyVaultReferenceIdentity: identity.id
    publicNetworkAccess: 'Enabled'
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${deploymentContainerName}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        alwaysReady: alwaysReady
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(extraSettings, secretSettings, {
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identity.properties.clientId
    AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
    AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
    AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
    APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
    SCHEDULER_NAME: schedulerName
    SCHEDULER_TIMEZONES: join(timezones, ',')
    SCHEDULER_RETENTION_DAYS: string(executionRetentionDays)
  })
}

resource ftpPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scmPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

output name string = app.name
output uri string = 'https://${app.properties.defaultHostName}'
