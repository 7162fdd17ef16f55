/** What is known about a root before anything is deleted because of what is not there. */
export interface RootLook {
  readonly root: "there" | "missing" | "replaced";
  /** The id that the root should have, and the one that its marker holds; undefined: no marker. */
  readonly knownId: string;
  readonly foundId: string | undefined;
  /** Files that were synced here. */
  readonly knownFiles: number;
  /** How many of those are missing and would be deleted elsewhere. */
  readonly missingFiles: number;
}

export interface RootGuardSettings {
  /** Deletes up to this many are never held. */
  readonly fewFiles: number;
  /** More than this part of all files missing at once holds. From 0 to 1. */
  readonly maxShare: number;
  /** More than this many missing at once hold. */
  readonly maxFiles: number;
}

export const ROOT_GUARD_DEFAULTS: RootGuardSettings = { fewFiles: 2, maxShare: 0.5, maxFiles: 500 };

export type RootVerdict =
  | { readonly verdict: "go" }
  /** `isApprovable`: whether a person may say that it is meant so; a root that is not there cannot be approved. */
  | { readonly verdict: "hold"; readonly why: string; readonly isApprovable: boolean };

/** Whether what is missing may be deleted elsewhere (decision 23), pure. */
export function guardRoot(look: RootLook, settings: RootGuardSettings = ROOT_GUARD_DEFAULTS): RootVerdict {
  if (look.root === "missing") return hold("the folder is not there", false);
  if (look.root === "replaced") return hold("the folder was replaced by another one", false);
  if (look.foundId === undefined)
    return hold(
      "its marker .dray/root-id is gone: the folder was emptied, or is not mounted",
      look.knownFiles > 0,
    );
  if (look.foundId !== look.knownId) return hold("its marker .dray/root-id is that of another folder", false);
  const { knownFiles, missingFiles } = look;
  if (missingFiles <= settings.fewFiles) return { verdict: "go" };
  if (missingFiles === knownFiles) return hold(`all ${knownFiles} files are missing`, true);
  if (missingFiles > settings.maxFiles || missingFiles > knownFiles * settings.maxShare)
    return hold(`${missingFiles} of ${knownFiles} files are missing`, true);
  return { verdict: "go" };
}

function hold(why: string, isApprovable: boolean): RootVerdict {
  return { verdict: "hold", why, isApprovable };
}
