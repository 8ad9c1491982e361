// The page's state: the view that the URL holds, the clock, and the zone.

import { fixed, presets, resolveRange, slotOf, zoneOfBrowser, type Fixed, type Range, type Zone, endsNow } from './range';
import { address, limits, preferred, read, type View } from './view';
import { remember, remembered } from './remembered';

preferred.from = remembered('range', presets.map((p) => p.from), '' as never);
preferred.limit = Number(remembered('rows', limits.map(String), '0'));

class Page {
  view: View = $state.raw(read(location.search, location.pathname));
  /** now ticks every second. */
  now = $state(Date.now());
  zone: Zone = $state(remembered('zone', ['local', 'utc'], 'local'));
  /** paused holds the range where it was when following the clock was switched off. */
  #paused: Fixed = $state.raw(resolveRange(this.view, Date.now()));

  /** following is whether new data is asked for as time goes on. */
  readonly following: boolean = $derived(endsNow(this.view) && this.view.live);

  /** asked is the range as the API is asked: relative while following, fixed when held. */
  readonly asked: Range = $derived.by(() =>
    this.following || !endsNow(this.view) ? { from: this.view.from, to: this.view.to } : fixed(this.#paused),
  );

  /** zoned is whose days are meant, in the API's words: "" for UTC, and where the browser does not know. */
  readonly zoned: string = $derived(this.zone === 'utc' ? '' : zoneOfBrowser());
  /** step is how long the slots of the graph and of the share below it are, in the API's words. */
  readonly step: string = $derived(slotOf(this.fixed()) + 's');

  /** common is what every question is asked with. */
  readonly common = $derived({
    ...this.asked,
    zone: this.zoned,
    filter: this.view.filter,
    exporter: this.view.exporter,
    scaled: this.view.scaled && this.view.name === 'explore',
  });
  /** narrowed is common, of the pinned slot alone when there is one. */
  readonly narrowed = $derived({ ...this.common, ...(this.view.pin ?? {}) });

  constructor() {
    addEventListener('popstate', () => this.#set(read(location.search, location.pathname)));
    setInterval(() => (this.now = Date.now()), 1000);
  }

  /** go changes the view and the URL. A range that changes lets go of the pinned slot. */
  go(change: Partial<View>): void {
    const moved = (change.from !== undefined && change.from !== this.view.from) || (change.to !== undefined && change.to !== this.view.to);
    const next: View = { ...this.view, ...(moved ? { pin: null, live: true } : {}), ...change };
    const where = address(next);
    if (where === address(this.view)) return;
    history.pushState(null, '', where);
    this.#set(next);
  }

  /** open goes to a URL of this page, such as that of a saved view. */
  open(where: string): void {
    const u = new URL(where, location.origin);
    if (u.origin !== location.origin) return;
    history.pushState(null, '', u.pathname + u.search);
    this.#set(read(u.search, u.pathname));
  }

  /** follow lets a click on a link of this page change the view, unless it asks for a new tab. */
  follow(e: MouseEvent & { currentTarget: HTMLAnchorElement }): void {
    if (e.defaultPrevented || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    this.open(e.currentTarget.getAttribute('href')!);
    scrollTo(0, 0);
  }

  /** link is the address of this view with a change, for an anchor. */
  link(change: Partial<View>): string {
    return address({ ...this.view, ...change });
  }

  /** fixed is the range in milliseconds as it would be asked now. */
  fixed(): Fixed {
    return resolveRange(this.asked, Date.now());
  }

  /** afresh reads a bare address again, after what is preferred has changed. */
  afresh(): void {
    if (!location.search) this.#set(read('', location.pathname));
  }

  setZone(z: Zone): void {
    this.zone = z;
    remember('zone', z === 'local' ? null : z);
  }

  #set(v: View): void {
    const whole = (r: Fixed): Fixed => ({ from: Math.floor(r.from / 1000) * 1000, to: Math.floor(r.to / 1000) * 1000 });
    if (!v.live && this.view.live) this.#paused = whole(resolveRange(v, Date.now()));
    this.view = v;
  }
}

export const page = new Page();
