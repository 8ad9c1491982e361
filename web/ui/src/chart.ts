// The only door to ECharts, loaded after the first paint. It draws lines and
// areas on two axes; pointing, brushing and pinning are the page's own, over it.

import { init, use, type EChartsType } from 'echarts/core';
import { LineChart } from 'echarts/charts';
import { GridComponent } from 'echarts/components';
import { CanvasRenderer } from 'echarts/renderers';
import type { Palette } from './palette';

use([LineChart, GridComponent, CanvasRenderer]);

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
          type: 'value',
          min: 0,
          max: some ? null : 1,
          interval: some ? undefined : 0.5,
          splitNumber: 4,
          axisLine: { show: false },
          axisTick: { show: false },
          splitLine: { lineStyle: { color: p.palette.line, width: 1 } },
          axisLabel: { ...label, margin: 8, formatter: p.tick },
        },
        series: p.series.map((s) => {
          const dim = p.lit !== '' && p.lit !== s.id;
          return {
            id: s.id,
            type: 'line',
            silent: true,
            symbol: 'none',
            stack: p.stacked ? 'all' : undefined,
            step: p.stacked ? 'end' : undefined,
            z: p.lit === s.id ? 3 : 2,
            lineStyle: { color: s.colour, width: p.stacked ? 0 : p.lit === s.id ? 2.5 : 1.5, opacity: dim ? 0.25 : 1 },
            areaStyle: p.stacked ? { color: s.colour, opacity: dim ? 0.2 : 0.9 } : undefined,
            data: this.#data(p, s),
          };
        }),
      },
      { replaceMerge: ['series'] },
    );
  }

  // A slot is a width of time, not an instant: stacked areas hold the value from
  // its start to its end, lines go through its middle.
  #data(p: Picture, s: Drawn): [number, number][] {
    if (!p.stacked) return p.starts.map((t, i) => [(t + p.ends[i]!) / 2, s.values[i] ?? 0]);
    const data: [number, number][] = p.starts.map((t, i) => [t, s.values[i] ?? 0]);
    const end = p.ends.at(-1);
    if (end !== undefined) data.push([end, s.values.at(-1) ?? 0]);
    return data;
  }
}
