// The page's state: the view that the URL holds, the clock, and the zone.

import { fixed, resolveRange, type Fixed, type Range, type Zone, endsNow } from './range';
import { read, write, type View } from './view';
import { remember, remembered } from './remembered';

class Page {
  view: View = $state.raw(read(location.search));
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

  constructor() {
    addEventListener('popstate', () => this.#set(read(location.search)));
    setInterval(() => (this.now = Date.now()), 1000);
  }

  /** go changes the view and the URL. A range that changes lets go of the pinned slot. */
  go(change: Partial<View>): void {
    const moved = change.from !== undefined || change.to !== undefined;
    const next: View = { ...this.view, ...(moved ? { pin: null, live: true } : {}), ...change };
    const search = write(next);
    if (search === write(this.view)) return;
    history.pushState(null, '', location.pathname + search);
    this.#set(next);
  }

  /** fixed is the range in milliseconds as it would be asked now. */
  fixed(): Fixed {
    return resolveRange(this.asked, Date.now());
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
