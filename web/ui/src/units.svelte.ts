// What traffic a second is counted in: bits, as lines are sold, or bytes.

class Units {
  bytes: boolean = $state(false);
  /** per is how many of the unit a byte is, name what follows a rate. */
  readonly per: number = $derived(this.bytes ? 1 : 8);
  readonly name: string = $derived(this.bytes ? 'B/s' : 'bit/s');
}

export const units = new Units();
