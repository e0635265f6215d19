/** Bytes of the client after gzip, MQTT.js left out. */
export function gzippedBytes(): Promise<number>;
