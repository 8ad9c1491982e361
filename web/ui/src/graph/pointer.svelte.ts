// Pointing at the graph: the slot under the pointer, a brush over several, and what
// letting go means.

import { untrack } from 'svelte';
import type { Fixed } from '../range';
import { wholeSlots, type Frame } from './graph-model';
import { slotAt, type Slots } from './slots';

/** Target is the graph that is pointed at. */
export interface Target {
  frame: Frame;
  times: Slots;
}

/** Done is what is done when a brush or a click ends. */
export interface Done {
  zoom: (range: Fixed) => void;
  pin: (slot: number) => void;
}

export class Pointer {
  /** at is the slot that is pointed at, or -1. */
  at = $state(-1);
  /** brush is the piece that is being brushed, in ms; it counts once it has moved a few pixels. */
  brush = $state<{ a: number; b: number; moved: boolean } | null>(null);

  #target: () => Target | null;
  #done: Done;
  #instant = 0;

  /** It is made while a component is set up; the target is null as long as nothing is drawn. */
  constructor(target: () => Target | null, done: Done) {
    this.#target = target;
    this.#done = done;
    // A poll that moves the slots must not move what is being read.
    $effect(() => {
      const times = this.#target()?.times;
      untrack(() => {
        if (times && this.at >= 0 && this.#instant) this.at = slotAt(times, this.#instant);
      });
    });
  }

  down(e: PointerEvent & { currentTarget: HTMLElement }): void {
    const target = this.#target();
    if (e.button !== 0 || !target) return;
    e.currentTarget.setPointerCapture(e.pointerId);
    const t = instant(e, target.frame);
    this.brush = { a: t, b: t, moved: false };
    this.#point(t, target);
  }

  move(e: PointerEvent & { currentTarget: HTMLElement }): void {
    const target = this.#target();
    if (!target) return;
    const t = instant(e, target.frame);
    if (this.brush) {
      this.brush.b = t;
      if (Math.abs(target.frame.x(this.brush.a) - target.frame.x(t)) > 5) this.brush.moved = true;
    }
    this.#point(t, target);
  }

  up(e: PointerEvent): void {
    const target = this.#target();
    const brush = this.brush;
    if (!brush || !target) return;
    this.brush = null;
    if (brush.moved) {
      this.#done.zoom(wholeSlots(target.times, brush.a, brush.b, target.frame.to));
      this.at = -1;
    } else if (this.at >= 0) {
      this.#done.pin(this.at);
      if (e.pointerType !== 'mouse') this.at = -1;
    }
  }

  leave(): void {
    if (this.brush) return;
    this.at = -1;
    this.#instant = 0;
  }

  /** cancel lets go of everything: the browser has taken the pointer away. */
  cancel(): void {
    this.brush = null;
    this.leave();
  }

  /** abandon gives a brush up. */
  abandon(e: KeyboardEvent): void {
    if (e.key === 'Escape' && this.brush) {
      e.preventDefault();
      this.brush = null;
    }
  }

  #point(t: number, { frame, times }: Target): void {
    this.at = slotAt(times, Math.min(t, frame.to - 1));
    this.#instant = this.at >= 0 ? t : 0;
  }
}

const instant = (e: PointerEvent & { currentTarget: HTMLElement }, frame: Frame): number => frame.ms(e.clientX - e.currentTarget.getBoundingClientRect().left);
