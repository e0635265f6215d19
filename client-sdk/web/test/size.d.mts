/** Bytes of all that the client exports, after gzip, MQTT.js left out. */
export function wholeBytes(): Promise<number>;
/** Bytes of an app that imports `openSyncline` and these names, after gzip, MQTT.js left out. */
export function appBytes(names?: readonly string[]): Promise<number>;
