// The SQL editor, loaded when the SQL page is. It lives in a shadow root: there
// its styles are constructed sheets, which the Content-Security-Policy lets be,
// while in the page they would be style elements, which it forbids.

import { acceptCompletion, autocompletion, closeBrackets, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { PostgreSQL, sql } from '@codemirror/lang-sql';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { Compartment, EditorState } from '@codemirror/state';
import { drawSelection, EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import type { SchemaTable } from './api';

export class Editor {
  #view: EditorView;
  #language = new Compartment();

  constructor(host: HTMLElement, text: string, run: () => void, changed: (text: string) => void) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
    // Colours are the page's: custom properties pass into a shadow root.
    const look = EditorView.theme({
      '&': { fontSize: '13px', border: '1px solid var(--line)', borderRadius: '6px', backgroundColor: 'var(--ground)', color: 'var(--ink)' },
      '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '1px' },
      '.cm-scroller': { fontFamily: 'var(--mono)', minHeight: '150px', maxHeight: '420px', overflow: 'auto', lineHeight: '1.5' },
      '.cm-content': { padding: '8px 4px', caretColor: 'var(--ink)' },
      '.cm-cursor': { borderLeftColor: 'var(--ink)' },
      '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': { backgroundColor: 'var(--bar)' },
      '.cm-placeholder': { color: 'var(--soft)' },
      '.cm-tooltip': { backgroundColor: 'var(--ground)', color: 'var(--ink)', border: '1px solid var(--line)', borderRadius: '6px' },
      '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent-soft)', color: 'var(--ink)' },
      '.cm-completionDetail': { color: 'var(--soft)', fontStyle: 'normal' },
      '.cm-matchingBracket': { backgroundColor: 'var(--accent-soft) !important' },
    });
    const colours = HighlightStyle.define([
      { tag: [tags.keyword, tags.operatorKeyword], color: 'var(--accent)' },
      { tag: [tags.string, tags.number, tags.bool], color: 'var(--code)' },
      { tag: tags.comment, color: 'var(--soft)' },
    ]);
    this.#view = new EditorView({
      root,
      parent: root as unknown as HTMLElement,
      state: EditorState.create({
        doc: text,
        extensions: [
          history(),
          drawSelection(),
          bracketMatching(),
          closeBrackets(),
          autocompletion(),
          placeholder('select …'),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': 'SQL' }),
          EditorView.updateListener.of((u) => u.docChanged && changed(u.state.doc.toString())),
          syntaxHighlighting(colours),
          look,
          this.#language.of(sql({ dialect: PostgreSQL })),
          // Typing over coloured words, Chrome would keep their colour by a style attribute, which
          // the Content-Security-Policy refuses aloud: the text is put in place of them here.
          EditorView.domEventHandlers({
            beforeinput(e, view) {
              if (e.inputType !== 'insertText' || !e.data || view.composing || view.state.selection.main.empty || /^[()[\]{}'"]$/.test(e.data)) return false;
              e.preventDefault();
              view.dispatch(view.state.replaceSelection(e.data));
              return true;
            },
          }),
          keymap.of([{ key: 'Mod-Enter', run: () => (run(), true) }, { key: 'Tab', run: acceptCompletion }, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
          // Tab leaves the editor: whoever has no mouse must get out. Shift+Tab and Escape, Tab do too.
          keymap.of([{ key: 'Shift-Alt-Tab', run: indentWithTab.run! }]),
        ],
      }),
    });
  }

  /** schema gives completion the tables and columns. */
  schema(tables: SchemaTable[]): void {
    const names = Object.fromEntries(
      tables.map((t) => [t.table, (t.columns ?? []).map((c) => ({ label: c.name, detail: c.type, info: c.comment || undefined, type: 'property' }))]),
    );
    this.#view.dispatch({ effects: this.#language.reconfigure(sql({ dialect: PostgreSQL, schema: names, defaultTable: 'flows' })) });
  }

  set text(t: string) {
    this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: t } });
  }

  get text(): string {
    return this.#view.state.doc.toString();
  }

  focus(): void {
    this.#view.focus();
  }

  destroy(): void {
    this.#view.destroy();
  }
}
