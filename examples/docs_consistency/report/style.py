"""The look of the HTML report."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --card: #fff; --ink: #1f2328; --quiet: #59636e; --line: #d8dde3;
  --bad: #b3261e; --fine: #1a7f37; --link: #0756b6; --code: #eef1f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1215; --card: #171b20; --ink: #e6e9ec; --quiet: #9da7b1; --line: #323a43;
    --bad: #ff8a80; --fine: #5fd07a; --link: #7db7ff; --code: #232a31;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem; overflow-wrap: anywhere; }
a { color: var(--link); }
code { font: .9em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; background: var(--code);
  border-radius: .25rem; padding: .1em .35em; overflow-wrap: anywhere; }
.source { color: var(--quiet); margin: .2rem 0 1rem; overflow-wrap: anywhere; }
.bad, .fine { font-size: 1.15rem; font-weight: 600; }
.bad { color: var(--bad); }
.fine { color: var(--fine); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 1.25rem 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem;
  display: flex; flex-direction: column-reverse; justify-content: flex-end; }
dt { color: var(--quiet); font-size: .85rem; }
dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
summary { cursor: pointer; padding: .4rem 0; }
.count { color: var(--quiet); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .8rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-weight: 600; }
td { min-width: 9rem; }
.line { min-width: 4rem; font-variant-numeric: tabular-nums; color: var(--quiet); }
.kind { color: var(--bad); font-weight: 600; white-space: nowrap; }
@media print { body { max-width: none; } .wide { overflow: visible; } }
"""
