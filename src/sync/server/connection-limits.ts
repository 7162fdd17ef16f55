import { addressGroup } from "../../net/address.ts";

export interface ConnectionLimitSettings {
  /** Connections of both ports together. */
  readonly maxConnections: number;
  /** Of one address; of IPv6, of one network of 64 bits. */
  readonly maxPerAddress: number;
}

/** Counts connections, in all and of each address. Pure. */
export class ConnectionLimits {
  readonly #settings: ConnectionLimitSettings;
  readonly #perAddress = new Map<string, number>();
  #count = 0;

  constructor(settings: ConnectionLimitSettings) {
    this.#settings = settings;
  }

  /** Counts one more. @returns false when there are enough; then it is not counted */
  admit(address: string): boolean {
    const group = addressGroup(address);
    const ofAddress = this.#perAddress.get(group) ?? 0;
    if (this.#count >= this.#settings.maxConnections || ofAddress >= this.#settings.maxPerAddress)
      return false;
    this.#perAddress.set(group, ofAddress + 1);
    this.#count++;
    return true;
  }

  /** One that was admitted is gone. */
  left(address: string): void {
    const group = addressGroup(address);
    const ofAddress = (this.#perAddress.get(group) ?? 1) - 1;
    if (ofAddress > 0) this.#perAddress.set(group, ofAddress);
    else this.#perAddress.delete(group);
    this.#count--;
  }
}
