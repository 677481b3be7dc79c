import { useCallback, useEffect, useRef, useState } from "react";

/**
 * A panel that opens from a button: Escape and a click or focus elsewhere close it, focus goes back to the button.
 *
 * Give `root` to the element around both, `button` and `panel` to the two.
 */
export function usePopover() {
  const [open, setOpen] = useState(false);
  const root = useRef(null);
  const button = useRef(null);
  const panel = useRef(null);

  const close = useCallback((focusButton = false) => {
    setOpen(false);
    if (focusButton) button.current?.focus();
  }, []);

  useEffect(() => {
    if (!open) return undefined;
    panel.current?.focus();
    const outside = (event) => {
      if (event.target instanceof Node && !root.current?.contains(event.target)) close();
    };
    const escape = (event) => {
      if (event.key === "Escape") close(true);
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    document.addEventListener("keydown", escape);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
      document.removeEventListener("keydown", escape);
    };
  }, [open, close]);

  return { open, close, toggle: () => setOpen((before) => !before), root, button, panel };
}
