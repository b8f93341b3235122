import { STYLE as BOOK } from "../report/style.js";

/** How the page looks: as a report does, with what moves. */
export const STYLE: string = `${BOOK}
body{max-width:46.5rem}header{padding:3rem 0 .5rem}section{padding-top:2.25rem}section:first-child{padding-top:1rem}
.about{margin:.75rem 0 0;color:var(--muted);max-width:none}
.state{display:flex;flex-wrap:wrap;align-items:center;justify-content:space-between;gap:.75rem 1.5rem}
#status{margin:0;font-size:1.25rem;font-weight:600;min-height:1.55em}
#connection{margin:.5rem 0 0;color:var(--two);font:.9375rem/1.5 var(--sans)}#connection.over{color:var(--muted)}#connection:empty{display:none}
.buttons{display:flex;gap:.6rem}
button{font:500 .9375rem/1.2 var(--sans);color:var(--text);background:var(--raised);border:1px solid var(--muted);border-radius:4px;padding:.6rem 1rem;min-width:6rem;min-height:2.75rem;cursor:pointer}
button:hover:enabled{border-color:var(--link);color:var(--link)}button:disabled{color:var(--muted);border-color:var(--rule);cursor:default}
progress{appearance:none;display:block;width:100%;height:.5rem;margin:1rem 0 .5rem;border:0;background:var(--rule);border-radius:3px;overflow:hidden}
progress::-webkit-progress-bar{background:var(--rule)}progress::-webkit-progress-value{background:var(--one)}progress::-moz-progress-bar{background:var(--one)}
.where{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1.5rem;max-width:none}
p.where{margin-bottom:1.5rem;font:.9375rem/1.5 var(--sans);font-variant-numeric:lining-nums tabular-nums;color:var(--muted)}
.headline dd{font-size:1.75rem;white-space:nowrap}.headline{margin-bottom:.5rem;gap:1rem 2.25rem}
.charts{display:grid;gap:.5rem 2.5rem;grid-template-columns:minmax(0,1fr)}
.charts h3{margin:0 0 .1rem;font:600 .9375rem/1.4 var(--sans)}.asked{display:flex;flex-wrap:wrap;align-items:center;gap:0 .75rem}
.charts figure{margin:0 0 1.25rem;min-width:0}.chart .rate{color:var(--two)}
.legend{list-style:none;margin:0 0 .25rem;padding:0;display:flex;flex-wrap:wrap;gap:0 1.25rem;font:.8125rem/1.6 var(--sans);color:var(--muted);min-height:1.6em;font-variant-numeric:lining-nums tabular-nums}
.legend svg{display:inline-block;width:28px;height:12px;vertical-align:-1px;margin-right:.5rem}.legend b{color:var(--text)}
.chart>svg{width:100%;height:260px}.chart .pale{opacity:.5}
.option{display:inline-flex;align-items:center;gap:.5rem;font:.9375rem/1.5 var(--sans);min-height:1.75rem}
.option input{width:1.1rem;height:1.1rem;margin:0;accent-color:var(--link)}.chart .option{display:flex;font-size:.875rem}
#confuse-cost{font:.9375rem/1.5 var(--sans);color:var(--muted)}
#sheet>p:first-child,#matrix>p:first-child{margin-top:0}
dialog{border:1px solid var(--muted);border-radius:6px;background:var(--ground);color:var(--text);max-width:26rem;padding:1.5rem}dialog::backdrop{background:rgba(0,0,0,.45)}
dialog h2{margin:0 0 .5rem}
@media(max-width:34rem){header{padding-top:1.75rem}section{padding-top:1.75rem}.buttons{width:100%}.buttons button{flex:1}.headline dd{font-size:1.375rem}.headline{gap:.75rem 1.5rem}}
@media(min-width:60rem){body{max-width:68rem;padding-left:1.25rem}.charts{grid-template-columns:repeat(2,minmax(0,1fr))}}
`;
