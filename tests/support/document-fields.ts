/**
 * Reads bytes by nothing but a field table of docs/PROTOCOL.md, so that a test can compare what the
 * document says with what the code does.
 */
export type FieldValue = number | string | Uint8Array;

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * @returns the values by their names, and the position behind the last one
 * @throws Error when a type is unknown or an offset in the table is not where the field really begins
 */
export function readFields(
  rows: readonly Record<string, string>[],
  bytes: Uint8Array,
  start = 0,
): { values: Record<string, FieldValue>; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values: Record<string, FieldValue> = {};
  let at = start;
  for (const { Offset, Type, Name } of rows) {
    if (Name === undefined || Type === undefined) throw new Error("not a field table");
    if (Offset !== "–" && Number(Offset) !== at - start) {
      throw new Error(`"${Name}" begins at ${at - start}, the document says ${Offset}`);
    }
    const [value, sizeBytes] = readField(Type.replaceAll("`", ""), view, at);
    values[Name] = value;
    at += sizeBytes;
  }
  return { values, end: at };
}

function readField(type: string, view: DataView, at: number): [value: FieldValue, sizeBytes: number] {
  const slice = (offset: number, count: number): Uint8Array =>
    new Uint8Array(view.buffer, view.byteOffset + offset, count);
  switch (type) {
    case "u8":
      return [view.getUint8(at), 1];
    case "u16":
      return [view.getUint16(at, true), 2];
    case "u32":
      return [view.getUint32(at, true), 4];
    case "i64":
      return [Number(view.getBigInt64(at, true)), 8];
    case "size":
      return [Number(view.getBigUint64(at, true)), 8];
    case "blob":
      return [slice(at + 2, view.getUint16(at, true)), 2 + view.getUint16(at, true)];
    case "text":
      return [decoder.decode(slice(at + 2, view.getUint16(at, true))), 2 + view.getUint16(at, true)];
    case "rest":
      return [slice(at, view.byteLength - at), view.byteLength - at];
    default:
      throw new Error(`the document does not explain the type "${type}"`);
  }
}
