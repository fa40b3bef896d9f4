/* On the page that follows a saved pipeline: its draft is no longer needed, and the address is the plain one again. */
import { forgetSent } from "./drafts.js";

forgetSent();
history.replaceState(null, "", location.pathname);
