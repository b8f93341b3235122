/** Of the ground, how much the lightest shade covers. */
const LEAST = 0.1;

/** Shades of the matrix, up to that of a whole row, over the ground: text stays legible on all of them. */
const shades = (kind: string, colour: string, most: number) =>
  Array.from({ length: 9 }, (_, i) => `.${kind}.shade${i + 1}{background:rgba(${colour},${(LEAST + ((most - LEAST) * i) / 8).toFixed(3)})}`).join("");

/** How a page looks: a book's page, in the reader's scheme, on paper always light. */
export const STYLE: string = `
:root{--ground:#fffefb;--raised:#f6f3ec;--text:#1e1b17;--muted:#5e584e;--rule:#ddd7cb;--link:#0a5a8c;--one:#0072b2;--two:#c24700;--three:#00795a;
--serif:Charter,"Bitstream Charter","Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua","Source Serif 4",Georgia,serif;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--mono:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
${shades("right", "0,114,178", 0.55)}${shades("wrong", "214,84,0", 0.6)}
@media screen and (prefers-color-scheme:dark){
:root{--ground:#16181b;--raised:#202327;--text:#e8e4dc;--muted:#aaa498;--rule:#3a3d42;--link:#8cc8f0;--one:#56b4e9;--two:#f0a040;--three:#35c49a}
${shades("right", "86,180,233", 0.42)}${shades("wrong", "240,140,40", 0.42)}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0 auto;padding:0 1.25rem 4rem;max-width:46.5rem;background:var(--ground);color:var(--text);font:1.0625rem/1.55 var(--serif);
overflow-wrap:break-word;font-variant-numeric:oldstyle-nums}
.skip{position:absolute;left:-999rem}.skip:focus{left:1rem;top:1rem;background:var(--ground);padding:.5rem 1rem;z-index:2}
:focus-visible{outline:2px solid var(--link);outline-offset:3px;border-radius:2px}
main:focus{outline:none}
a{color:var(--link);text-underline-offset:.15em;text-decoration-thickness:.06em}
header{padding:4.5rem 0 1.5rem}
.kicker{margin:0 0 .5rem;font:.8125rem/1.4 var(--sans);letter-spacing:.09em;text-transform:uppercase;color:var(--muted)}
h1{margin:0;font-size:clamp(1.75rem,1.2rem + 2.6vw,2.5rem);line-height:1.15;font-weight:600;letter-spacing:-.01em;text-wrap:balance}
h2{margin:0 0 1rem;font-size:1.5rem;line-height:1.25;font-weight:600}
nav{border-block:1px solid var(--rule);padding:.75rem 0;font:.875rem/1.5 var(--sans)}
nav ol{margin:0;padding:0;list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.25rem}
nav a{display:inline-block;padding:.3rem 0;color:var(--text);text-decoration:none}nav a:hover{color:var(--link);text-decoration:underline}
section{padding-top:3.25rem}
p{margin:0 0 1rem;max-width:38em;text-wrap:pretty}
dl{margin:0 0 1.25rem}dd{margin:0}
.headline{display:flex;flex-wrap:wrap;gap:1.25rem 2.5rem;margin-bottom:1.75rem}
.headline div{display:flex;flex-direction:column-reverse}
.headline dd{font-size:2rem;line-height:1.15;font-variant-numeric:lining-nums tabular-nums}
.headline dt{font:.875rem/1.4 var(--sans);color:var(--muted)}
.facts div{display:grid;grid-template-columns:11rem 1fr;gap:0 1.5rem;padding:.4rem 0;border-top:1px solid var(--rule)}
.facts dt{color:var(--muted)}.facts dd{min-width:0;overflow-wrap:anywhere}
figure{margin:0 0 1.75rem}
figcaption,caption{font:.875rem/1.5 var(--sans);color:var(--muted);text-align:left}
caption,figcaption:has(+.scroll){padding-bottom:.6rem;text-wrap:pretty}figcaption+.scroll{margin:0}
.chart svg{display:block;width:100%;height:auto;font:12px var(--sans)}.chart svg.narrow{display:none}
.chart .loss,.chart .accuracy{color:var(--one)}.chart .validationLoss,.chart .validationAccuracy{color:var(--two)}.chart .lr{color:var(--three)}
.chart .label{color:var(--muted)}.chart .title{color:var(--text)}.chart .axis{color:var(--muted)}.chart .grid{color:var(--rule)}
.chart .point{stroke:var(--ground)}.chart .cursor{stroke:var(--muted);stroke-dasharray:2 3}
.chart figcaption{padding-top:.4rem}
.probe{display:flex;flex-wrap:wrap;align-items:center;gap:.25rem 1rem;font:.875rem/1.5 var(--sans);color:var(--muted);padding-top:.25rem}
.probe label{display:flex;align-items:center;gap:.6rem}.probe input{accent-color:var(--link);width:9rem;height:1.75rem;margin:0}
.probe output{color:var(--text);font-variant-numeric:tabular-nums;min-height:1.5em}
.scroll{overflow:auto;margin:0 0 1.5rem;max-height:42rem}.scroll:has(.matrix){max-height:none}
.scroll thead th{position:sticky;top:0;background:var(--ground)}
table{border-collapse:collapse;width:100%;font:.875rem/1.45 var(--sans);font-variant-numeric:lining-nums tabular-nums}
th,td{padding:.32rem .6rem;text-align:right;vertical-align:baseline;white-space:nowrap}
thead th{color:var(--muted);font-weight:500;box-shadow:inset 0 -1px var(--muted);vertical-align:bottom}
tbody th,tfoot th{font-weight:500}
tbody tr>*{border-bottom:1px solid var(--rule)}
tfoot tr>*{border-top:1px solid var(--muted);font-weight:600}
th:first-child,td.text,th.text{text-align:left}th:first-child,td:first-child{padding-left:0}
tbody th bdi,.pairs td.text bdi{white-space:normal;overflow-wrap:break-word;display:inline-block;max-width:18rem}
.settings th.text,.settings td{white-space:normal;overflow-wrap:anywhere;width:100%}
.pairs td.text{text-align:left}.pairs thead th:nth-child(2){text-align:left}
th button{all:unset;cursor:pointer}th button:hover{color:var(--link)}th button:focus-visible{outline:2px solid var(--link);outline-offset:3px}
th button::after{content:" \\2195";color:var(--muted)}
th[aria-sort=ascending] button::after{content:" \\2191"}th[aria-sort=descending] button::after{content:" \\2193"}
.matrix{width:auto}
.matrix td{vertical-align:middle;text-align:center;min-width:2.4rem;padding:.4rem .3rem;border:1px solid var(--ground)}
.matrix tbody th{padding-right:.8rem;text-align:right;border:0;vertical-align:middle;position:sticky;left:0;background:var(--ground)}.matrix tbody tr>*{border-bottom-color:var(--ground)}
.matrix thead th{position:static;text-align:left;border:0;box-shadow:none;padding:.3rem 0 .5rem;vertical-align:bottom}.matrix thead td{border:0}
.matrix thead span{writing-mode:vertical-rl;transform:rotate(180deg);max-height:11rem;overflow:hidden;text-overflow:ellipsis;display:inline-block;margin-left:50%;translate:-50%}
.matrix .none{color:var(--muted)}
.gallery{list-style:none;margin:0 0 1rem;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(7.25rem,1fr));gap:1.5rem 1.25rem}
.gallery figure{margin:0}.gallery img{display:block;width:100%;height:auto;background:var(--raised);box-shadow:0 0 0 1px var(--rule)}
.pairs figure>div{display:grid;grid-template-columns:1fr 1fr;gap:2px}.gallery.pairs{grid-template-columns:repeat(auto-fill,minmax(13.5rem,1fr))}
img.pixels{image-rendering:pixelated}
.sheet{display:block;max-width:100%;height:auto;margin-bottom:.6rem}
.gallery figcaption{padding-top:.4rem;line-height:1.4}.gallery figcaption span{display:block;overflow-wrap:anywhere}
.gallery .took{color:var(--text);font-weight:600}.gallery .is{color:var(--text)}.gallery .where{font-size:.8125rem}
code,pre{font:.8125rem/1.5 var(--mono)}pre{margin:0;white-space:pre}p code,figcaption code{font-size:.9em}
details{margin:0 0 1.5rem}summary{cursor:pointer;font:.9375rem/1.5 var(--sans);padding:.4rem 0;color:var(--link)}
footer{margin-top:4rem;padding-top:1rem;border-top:1px solid var(--rule);font:.875rem/1.5 var(--sans);color:var(--muted)}
@media(max-width:34rem){
body{font-size:1rem;padding:0 1rem 3rem}header{padding-top:2.25rem}section{padding-top:2.5rem}
.facts div{grid-template-columns:1fr}.headline{gap:1rem 1.75rem}.headline dd{font-size:1.625rem}
.chart svg.wide{display:none}.chart svg.narrow{display:block}
.gallery{grid-template-columns:repeat(2,1fr)}.gallery.pairs{grid-template-columns:1fr}.probe input{width:100%}.probe label{width:100%}
th,td{padding-inline:.3rem}th button::after{font-size:.75em}}
@media(min-width:84rem){
body{max-width:63.5rem;padding-left:17rem;position:relative}
nav{position:fixed;top:0;left:calc(50% - 31.75rem + 1.25rem);width:13rem;height:100%;overflow:auto;padding:5.75rem 0 2rem;border:0}
nav ol{display:block}}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
@media print{
@page{margin:18mm 16mm}
:root{--ground:#fff}
body{max-width:none;padding:0;font-size:10.5pt}header{padding:0 0 1rem}nav,.skip,.probe,.cursor,.again{display:none}
section{padding-top:1.75rem}h2{break-after:avoid}figure,.gallery li,tr,.headline,.facts div{break-inside:avoid}
.scroll{overflow:visible;max-height:none}table,code,pre{font-size:8.5pt}pre{white-space:pre-wrap}th,td{padding-inline:.35rem}
th button::after{content:""}thead th{box-shadow:none;border-bottom:1px solid var(--muted)}.matrix{break-inside:avoid}tfoot{display:table-row-group}details::details-content{content-visibility:visible;display:block}
.gallery{grid-template-columns:repeat(5,1fr);gap:1rem}.gallery.pairs{grid-template-columns:repeat(3,1fr)}a{color:inherit;text-decoration:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`;
