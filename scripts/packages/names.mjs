// What the packages, and the files beside their addons, are called.

/** What the package with CUDA's addon is called after the main one, and what it runs on. */
export const CUDA = "cuda13";
export const CUDA_TARGET = "linux-x64-gnu";

/** Files that are made beside an addon, by their endings there, and their names in its package. */
export const MADE = { "notices.txt": "THIRD-PARTY-NOTICES.txt", "rust.html": "THIRD-PARTY-NOTICES-RUST.html", "cdx.json": "sbom.cdx.json" };

/** The file that is made beside an addon. */
export const beside = (addon, ending) => addon.replace(/node$/, ending);
