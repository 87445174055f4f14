@description('Name of the vault that holds the app\'s secrets.')
@minLength(3)
@maxLength(24)
param name string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Days that a deleted vault or secret can be recovered.')
param retentionDays int

// Open to the network on purpose: this plan cannot resolve references to a network-restricted vault.
resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enablePurgeProtection: true
    enableRbacAuthorization: true
    enableSoftDelete: true
    publicNetworkAccess: 'Enabled'
    softDeleteRetentionInDays: retentionDays
  }
}

output name string = vault.name
