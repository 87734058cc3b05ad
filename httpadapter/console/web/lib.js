// What every part of the page is made with.

import { h, render } from 'preact';
import htm from 'htm';

export const html = htm.bind(h);
export { render };
export { useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';

const { title, api, session, login, readOnly } = document.body.dataset;

// What the server has told the page.
export const config = { title, api, session, login, readOnly: readOnly !== undefined };

export const Logo = () => html`<img class="logo" src=${new URL('icon.svg', import.meta.url)} alt="" width="28" height="28" />`;

// The types in the order in which people look for them.
export const typeNames = { online: 'Online', away: 'Away', busy: 'Busy', offline: 'Offline' };
export const typeName = (type) => typeNames[type] ?? (type || 'None');
