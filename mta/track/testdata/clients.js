// Sends EVENTS calls about 50 people to HOST, with the library of others that LIBRARY
// names, and ends with status 0 when each was acknowledged.
'use strict'
const events = Number(process.env.EVENTS)

// call gives the nth of them. Of the first 500 each person is identified once.
function call(client, n, done) {
  const user = n % 10 === 0 ? n / 10 % 50 : n % 50
  const who = { userId: `${process.env.PREFIX}-${user}` }
  switch (n % 10) {
    case 0: return client.identify({ ...who, traits: { email: `${who.userId}@example.com`, n } }, done)
    case 1: return client.group({ ...who, groupId: `account-${n % 5}`, traits: { n } }, done)
    case 2: return client.page({ ...who, name: 'Pricing', properties: { n } }, done)
    default: return client.track({ ...who, event: 'Report Opened', properties: { n, title: 'Übersicht' }, context: { groupId: `account-${n % 5}` } }, done)
  }
}

async function segment() {
  const { Analytics } = require('@segment/analytics-node')
  const client = new Analytics({ writeKey: process.env.KEY, host: process.env.HOST, maxRetries: 50, flushInterval: 100 })
  let failed = 0
  for (let n = 0; n < events; n++) call(client, n, err => { if (err) failed++ })
  await client.closeAndFlush({ timeout: 50000 })
  return failed
}

async function rudderstack() {
  const Rudder = require('@rudderstack/rudder-sdk-node')
  let failed = 0
  const client = new Rudder(process.env.KEY, {
    dataPlaneUrl: process.env.HOST, logLevel: 'silly', flushInterval: 100, retryCount: 500,
    axiosRetryConfig: { retryDelay: () => 20 }, errorHandler: err => { console.error(String(err)); failed++ },
  })
  client.logger = { debug() {}, info() {}, warn() {}, error() {} }
  let heard = 0
  for (let n = 0; n < events; n++) call(client, n, () => heard++)
  while (heard < events) {
    await client.flush()
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  return failed
}

const run = process.env.LIBRARY.startsWith('@segment/') ? segment : rudderstack
run().then(failed => process.exit(failed ? 1 : 0), err => { console.error(err); process.exit(1) })
