'use strict';

// What mdBook leaves open for readers who use a keyboard, a screen reader, a phone or paper.
// The book can be read without this script.

// Places where the arrow keys have work of their own: moving a caret, scrolling, choosing.
const OWNS_ARROWS = 'pre, code, table, .table-wrapper, .katex-display, button, input, select, textarea, '
    + '[contenteditable], [role="button"], [role="menu"], [role="group"], #mdbook-sidebar';

// mdBook turns the page at every left or right arrow. Not from there: neither when the focus is in
// such a place, nor when the caret is.
window.addEventListener('keydown', event => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') {
        return;
    }
    const caret = window.getSelection()?.anchorNode;
    const places = [event.composedPath()[0], caret?.nodeType === Node.TEXT_NODE ? caret.parentElement : caret];
    if (places.some(place => place instanceof Element && place.closest(OWNS_ARROWS))) {
        event.stopPropagation();
    }
}, true);

// The first stop of the Tab key leads past the contents to the text.
(function skipLink() {
    const main = document.querySelector('main');
    main.tabIndex = -1;
    const link = document.createElement('a');
    link.className = 'skip-link';
    link.href = '#mdbook-content';
    link.textContent = 'Skip to the text';
    link.addEventListener('click', event => {
        event.preventDefault();
        main.focus();
    });
    document.body.prepend(link);
})();

// The button of the contents is a label for a hidden box: give it the keyboard.
(function contentsButton() {
    const button = document.getElementById('mdbook-sidebar-toggle');
    const sidebar = document.getElementById('mdbook-sidebar');
    const box = document.getElementById('mdbook-sidebar-toggle-anchor');
    button.tabIndex = 0;
    button.setAttribute('role', 'button');
    button.addEventListener('keydown', event => {
        if (event.key !== 'Enter' && event.key !== ' ') {
            return;
        }
        event.preventDefault();
        button.click();
        if (box.checked) {
            (sidebar.querySelector('a.active') ?? sidebar.querySelector('a')).focus();
        }
    });
    sidebar.addEventListener('keydown', event => {
        if (event.key === 'Escape') {
            button.focus();
        }
    });
})();

// Landmarks. The name of the book above every page is no heading of the page.
document.getElementById('mdbook-menu-bar').setAttribute('role', 'banner');
document.querySelector('.menu-title').setAttribute('role', 'presentation');
document.getElementById('mdbook-searchbar-outer')?.setAttribute('role', 'search');

// A formula is drawn for eyes alone. Its source, less what only sets it, becomes its name.
for (const formula of document.querySelectorAll('data.katex-src')) {
    const name = formula.value
        .replace(/\\(?:mathrm|text|operatorname)\s*\{([^{}]*)\}/g, '$1')
        .replace(/\\(?:left|right|big|Big|bigl|bigr|displaystyle|quad|qquad)(?![a-zA-Z])/g, ' ')
        .replace(/\\[,;:! ]/g, ' ')
        .replace(/\s+/g, ' ')
        .trim();
    formula.setAttribute('role', 'math');
    formula.setAttribute('aria-label', name);
}

// A method is quoted with the indentation of its impl block: take away what all its lines share.
for (const code of document.querySelectorAll('pre > code.language-rust')) {
    const lines = code.textContent.split('\n').filter(line => line.trim() !== '');
    const shared = Math.min(...lines.map(line => line.search(/\S/)));
    const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    let left = shared;
    while (shared > 0 && walker.nextNode()) {
        walker.currentNode.data = Array.from(walker.currentNode.data).filter(character => {
            if (character === '\n') {
                left = shared;
            } else if (character === ' ' && left > 0) {
                left -= 1;
                return false;
            } else {
                left = 0;
            }
            return true;
        }).join('');
    }
}

// What is wider than the page scrolls by itself, and the keyboard can reach it to do so.
(function scrollers() {
    const kinds = { 'pre > code': 'Listing', '.table-wrapper': 'Table', '.katex-display': 'Formula' };
    function mark() {
        for (const [selector, name] of Object.entries(kinds)) {
            for (const place of document.querySelectorAll(`main ${selector}`)) {
                if (place.scrollWidth > place.clientWidth) {
                    place.tabIndex = 0;
                    place.setAttribute('role', 'group');
                    place.setAttribute('aria-label', `${name}, scrolls sideways`);
                } else {
                    place.removeAttribute('tabindex');
                    place.removeAttribute('role');
                    place.removeAttribute('aria-label');
                }
            }
        }
    }
    mark();
    window.addEventListener('resize', mark);
    window.addEventListener('load', mark);
    document.fonts?.ready.then(mark);
})();

// On paper no fold can be opened.
(function folds() {
    let opened = [];
    window.addEventListener('beforeprint', () => {
        opened = Array.from(document.querySelectorAll('main details:not([open])'));
        opened.forEach(fold => { fold.open = true; });
    });
    window.addEventListener('afterprint', () => {
        opened.forEach(fold => { fold.open = false; });
    });
})();
