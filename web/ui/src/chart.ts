// The only door to ECharts, loaded after the first paint. It draws lines and
// areas on two axes; pointing, brushing and pinning are the page's own, over it.

import { init, use, type EChartsType } from 'echarts/core';
import { CustomChart, LineChart } from 'echarts/charts';
import { GridComponent } from 'echarts/components';
import { CanvasRenderer } from 'echarts/renderers';
import type { Palette } from './palette';

use([CustomChart, LineChart, GridComponent, CanvasRenderer]);

export interface Drawn {
  id: string;
  colour: string;
  values: number[];
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
  /** previous are earlier periods, the youngest first, drawn thin over the rest. */
  previous: number[][];
  utc: boolean;
  palette: Palette;
  margin: { left: number; right: number; top: number; bottom: number };
  tick: (v: number) => string;
  /** lit is the id of the series that stands out, or "". */
  lit: string;
}

export class Chart {
  #chart: EChartsType;

  constructor(el: HTMLElement) {
    this.#chart = init(el, null, { renderer: 'canvas' });
  }

  resize(): void {
    this.#chart.resize();
  }

  dispose(): void {
    this.#chart.dispose();
  }

  draw(p: Picture): void {
    const font = getComputedStyle(document.body).fontFamily;
    const label = { color: p.palette.soft, fontSize: 11, fontFamily: font };
    const some = p.series.some((s) => s.values.some((v) => v > 0));
    const wide = this.#chart.getWidth();
    this.#chart.setOption(
      {
        animation: false,
        useUTC: p.utc,
        grid: { ...p.margin, containLabel: false },
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
          min: p.log ? null : 0,
          max: some ? (p.most ?? null) : 1,
          interval: some ? undefined : 0.5,
          splitNumber: 4,
          axisLine: { show: false },
          axisTick: { show: false },
          splitLine: { lineStyle: { color: p.palette.line, width: 1 } },
          axisLabel: { ...label, margin: 8, formatter: p.tick },
        },
        series: [...(p.stacked ? this.#stack(p) : p.series.map((s) => this.#line(p, s))), ...p.previous.map((values, i) => this.#earlier(p, values, i))],
      },
      { replaceMerge: ['series'] },
    );
  }

  #line(p: Picture, s: Drawn): object {
    const lit = p.lit === s.id;
    return {
      id: s.id,
      type: 'line',
      silent: true,
      symbol: 'none',
      z: lit ? 3 : 2,
      lineStyle: { color: s.colour, width: lit ? 2.5 : 1.5, opacity: p.lit && !lit ? 0.25 : 1 },
      // A slot is a width of time, not an instant: the line goes through its middle.
      data: p.starts.map((t, i) => [(t + p.ends[i]!) / 2, p.log && !s.values[i] ? null : (s.values[i] ?? 0)]),
    };
  }

  // The older, the fainter.
  #earlier(p: Picture, values: number[], age: number): object {
    return {
      id: 'previous' + age,
      type: 'line',
      silent: true,
      symbol: 'none',
      z: 4,
      lineStyle: { color: p.palette.ink, width: 1.25, type: age === 0 ? 'solid' : [4, 2 + age], opacity: Math.max(0.2, 0.8 - age * 0.085) },
      data: p.starts.map((t, i) => [(t + p.ends[i]!) / 2, p.log && !values[i] ? null : (values[i] ?? null)]),
    };
  }

  // The stack is drawn by shapes of our own, one a series, on whole pixels. The
  // library's stepped areas leave out points that are close together, each
  // series others: dense stacks then show the wrong colour.
  #stack(p: Picture): object[] {
    const base = p.starts.map(() => 0);
    const shapes = p.series.map((s) => {
      const low = base.slice();
      s.values.forEach((v, i) => (base[i] = (base[i] ?? 0) + v));
      const high = base.slice();
      return {
        id: s.id,
        type: 'custom',
        silent: true,
        clip: true,
        data: [[p.from, 0]],
        renderItem: (_: unknown, api: { coord(at: [number, number]): [number, number] }) => {
          const edge = (heights: number[]): [number, number][] =>
            heights.flatMap((h, i) => {
              const y = Math.round(api.coord([p.from, h])[1]);
              const x = (t: number): number => Math.round(api.coord([t, 0])[0]);
              return [
                [x(p.starts[i]!), y],
                [x(p.ends[i]!), y],
              ] as [number, number][];
            });
          return {
            type: 'polygon',
            shape: { points: [...edge(high), ...edge(low).reverse()] },
            style: { fill: s.colour, opacity: p.lit && p.lit !== s.id ? 0.2 : 0.92 },
          };
        },
      };
    });
    // The shapes have no heights that the axis could know of; the total has.
    const total = { id: 'height', type: 'line', silent: true, symbol: 'none', lineStyle: { opacity: 0 }, data: p.starts.map((t, i) => [t, base[i] ?? 0]) };
    return [...shapes, total];
  }
}
