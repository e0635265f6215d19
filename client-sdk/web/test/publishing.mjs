// Publishes as fast as it may, offline, and says what is durable. Somebody kills it. Arguments: the built client, a folder.
const { openSyncline, fileStorage } = await import(process.argv[2]);
const sync = await openSyncline({
  url: 'ws://127.0.0.1:1/mqtt',
  syncId: 'music',
  storage: fileStorage(process.argv[3]),
});
console.log(`had ${JSON.stringify(sync.pendingEvents().map(({ eventData }) => eventData))}`);
for (let n = sync.pendingEvents().length; ; n++) {
  await sync.publish('star_album', n);
  console.log(`kept ${n}`);
}
