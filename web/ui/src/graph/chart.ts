// The only door to ECharts, loaded after the first paint. It draws lines and
// areas on two axes; pointing, brushing and pinning are the page's own, over it.

import { init, use, type EChartsType } from 'echarts/core';
import { CustomChart, LineChart } from 'echarts/charts';
import { GridComponent } from 'echarts/components';
import { CanvasRenderer } from 'echarts/renderers';
import type { Palette } from '../palette';

use([CustomChart, LineChart, GridComponent, CanvasRenderer]);

export interface Drawn {
  id: string;
  colour: string;
  values: number[];
  /** below is drawn downward from the axis. */
  below?: boolean;
}

export interface Earlier {
  values: number[];
  /** age is 0 for the youngest: the older, the fainter. */
  age: number;
  below?: boolean;
}

export interface Picture {
  from: number;
  to: number;
  starts: number[];
  ends: number[];
  series: Drawn[];
  stacked: boolean;
  /** log draws on powers of ten; what is zero has no place there. */
  log: boolean;
  /** most is where the axis ends, when that is known. */
  most?: number;
  /** previous are earlier periods, drawn thin over the rest. */
  previous: Earlier[];
  utc: boolean;
  palette: Palette;
  margin: { left: number; right: number; top: number; bottom: number };
  tick: (v: number) => string;
  /** lit are the ids of the series that stand out, none when all do. */
  lit: string[];
}

export class Chart {
  #chart: EChartsType;

  constructor(el: HTMLElement) {
    this.#chart = init(el, null, { renderer: 'canvas' });
  }

  /** resize follows the element; drawing anew what has its size already would be for nothing. */
  resize(): void {
    const el = this.#chart.getDom();
    if (el.clientWidth !== this.#chart.getWidth() || el.clientHeight !== this.#chart.getHeight()) this.#chart.resize({ silent: true });
  }

  dispose(): void {
    this.#chart.dispose();
  }

  draw(p: Picture): void {
    const font = getComputedStyle(document.body).fontFamily;
    const label = { color: p.palette.soft, fontSize: 11, fontFamily: font };
    const some = p.series.some((s) => s.values.some((v) => v > 0));
    const wide = this.#chart.getWidth();
    const below = p.series.some((s) => s.below) || p.previous.some((q) => q.below);
    this.#chart.setOption(
      {
        animation: false,
        useUTC: p.utc,
        // The page lays what is pointed at over the graph: its edges are where they are said to be, whatever an axis label wants.
        grid: { ...p.margin, containLabel: false, outerBoundsMode: 'none' },
        xAxis: {
          type: 'time',
          min: p.from,
          max: p.to,
          splitNumber: Math.max(2, Math.round(wide / 120)),
          axisLine: { lineStyle: { color: p.palette.soft, opacity: 0.6 }, onZero: false },
          axisTick: { lineStyle: { color: p.palette.soft, opacity: 0.6 } },
          splitLine: { show: false },
          axisLabel: {
            ...label,
            hideOverlap: true,
            formatter: {
              year: '{yyyy}',
              month: '{d} {MMM}',
              day: '{d} {MMM}',
              hour: '{HH}:{mm}',
              minute: '{HH}:{mm}',
              second: '{HH}:{mm}:{ss}',
              millisecond: '{HH}:{mm}:{ss}',
            },
          },
        },
        yAxis: {
          type: p.log ? 'log' : 'value',
          // What is drawn downward is counted downward: no number below the axis is negative.
          min: p.log ? null : !below ? 0 : some ? (p.most ? -p.most : (v: { min: number }) => (v.min < 0 ? null : 0)) : -1,
          max: some ? (p.most ?? (below ? (v: { max: number }) => (v.max > 0 ? null : 0) : null)) : 1,
          interval: some ? undefined : 0.5,
          splitNumber: 4,
          axisLine: { show: false },
          axisTick: { show: false },
          splitLine: { lineStyle: { color: p.palette.line, width: 1 } },
          axisLabel: { ...label, margin: 8, formatter: (v: number) => p.tick(Math.abs(v)) },
        },
        series: [...(p.stacked ? this.#stack(p) : p.series.map((s) => this.#line(p, s))), ...p.previous.map((q) => this.#earlier(p, q)), ...(below ? [this.#zero(p)] : [])],
      },
      { replaceMerge: ['series'] },
    );
  }

  #line(p: Picture, s: Drawn): object {
    const lit = p.lit.includes(s.id);
    const sign = s.below ? -1 : 1;
    return {
      id: s.id,
      type: 'line',
      silent: true,
      symbol: 'none',
      z: lit ? 3 : 2,
      lineStyle: { color: s.colour, width: lit ? 2.5 : 1.5, opacity: p.lit.length && !lit ? 0.25 : 1 },
      // A slot is a width of time, not an instant: the line goes through its middle.
      data: p.starts.map((t, i) => [(t + p.ends[i]!) / 2, p.log && !s.values[i] ? null : sign * (s.values[i] ?? 0)]),
    };
  }

  #earlier(p: Picture, q: Earlier): object {
    const sign = q.below ? -1 : 1;
    return {
      id: `previous${q.age}${q.below ? ' below' : ''}`,
      type: 'line',
      silent: true,
      symbol: 'none',
      z: 4,
      lineStyle: { color: p.palette.ink, width: 1.25, type: q.age === 0 ? 'solid' : [4, 2 + q.age], opacity: Math.max(0.2, 0.8 - q.age * 0.085) },
      data: p.starts.map((t, i) => [(t + p.ends[i]!) / 2, p.log && !q.values[i] ? null : sign * (q.values[i] ?? 0)]),
    };
  }

  // Where up and down begin.
  #zero(p: Picture): object {
    return { id: 'zero', type: 'line', silent: true, symbol: 'none', z: 5, lineStyle: { color: p.palette.ink, width: 1, opacity: 0.7 }, data: [[p.from, 0], [p.to, 0]] };
  }

  // The stack is drawn by shapes of our own, one a series, on whole pixels. The
  // library's stepped areas leave out points that are close together, each
  // series others: dense stacks then show the wrong colour.
  #stack(p: Picture): object[] {
    const up = p.starts.map(() => 0);
    const down = p.starts.map(() => 0);
    // Both axes are straight: two places on each tell all others, and the edges of the
    // slots are the same for every series. Of slots that share a pixel the highest is
    // drawn, by every series: a peak must not vanish because a graph is narrow.
    let top = 1;
    const height = (i: number): number => up[i]! - down[i]!;
    const columns = (x: (t: number) => number): { slot: number; left: number; right: number }[] => {
      const all: { slot: number; left: number; right: number }[] = [];
      let thin = -1;
      p.starts.forEach((t, i) => {
        const [left, right] = [Math.round(x(t)), Math.round(x(p.ends[i]!))];
        const slot = thin >= 0 && height(thin) > height(i) ? thin : i;
        if (right > left) all.push({ slot, left, right });
        thin = right > left ? -1 : slot;
      });
      const last = all.at(-1);
      if (last && thin >= 0 && height(thin) > height(last.slot)) last.slot = thin;
      return all;
    };
    const shapes = p.series.map((s) => {
      const base = s.below ? down : up;
      const low = base.slice();
      s.values.forEach((v, i) => (base[i] = (base[i] ?? 0) + (s.below ? -v : v)));
      const high = base.slice();
      return {
        id: s.id,
        type: 'custom',
        silent: true,
        clip: true,
        data: [[p.from, 0]],
        renderItem: (_: unknown, api: { coord(at: [number, number]): [number, number] }) => {
          const [x0, y0] = api.coord([p.from, 0]);
          const [x1, y1] = api.coord([p.to, top]);
          const cut = columns((t) => x0 + ((t - p.from) / (p.to - p.from)) * (x1 - x0));
          const y = (h: number): number => Math.round(y0 + (h / top) * (y1 - y0));
          const points: [number, number][] = [];
          for (const c of cut) points.push([c.left, y(high[c.slot]!)], [c.right, y(high[c.slot]!)]);
          for (const c of cut.reverse()) points.push([c.right, y(low[c.slot]!)], [c.left, y(low[c.slot]!)]);
          return {
            type: 'polygon',
            shape: { points },
            style: { fill: s.colour, opacity: p.lit.length && !p.lit.includes(s.id) ? 0.2 : 0.92 },
          };
        },
      };
    });
    top = Math.max(1e-9, ...up, ...down.map((n) => -n));
    // The shapes have no heights that the axis could know of; the totals have.
    const totals = [up, down].map((base, i) => ({ id: 'height' + i, type: 'line', silent: true, symbol: 'none', lineStyle: { opacity: 0 }, data: p.starts.map((t, j) => [t, base[j] ?? 0]) }));
    return [...shapes, ...totals];
  }
}
