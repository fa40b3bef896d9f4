/* What to say when something is not possible: what, and the mend. */
import { Refused } from "./connection.js";

/** For what getUserMedia, the audio context or the line raised: {text, action}. `action` is what a button offers:
    "again", "reload", or "" for none. */
export function wordsOf(error, device = "microphone") {
  if (error instanceof Refused) return refused(error);
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return { text: `The browser does not let this page use the ${device}. Allow it: click the sign beside the address, set the ${device} to “Allow”, and try again. You can type meanwhile.`, action: "again" };
    case "NotFoundError":
      return { text: `No ${device} was found. Connect one, or look whether it is switched on, and try again. You can type meanwhile.`, action: "again" };
    case "OverconstrainedError":
      return { text: `The ${device} that was chosen is not connected any more. Choose another one and try again.`, action: "again" };
    case "NotReadableError":
    case "AbortError":
      return { text: `The ${device} can't be opened: another program may be using it. Close that one and try again.`, action: "again" };
    default:
      return { text: `This did not work (${error?.message || error}). Load the page again; if it stays so, run “openomni doctor” on the server.`, action: "reload" };
  }
}

function refused({ code, message }) {
  switch (code) {
    case "no_agent":
      return { text: `${sentence(message)} Then try again.`, action: "again" };
    case "signed_out":
      return { text: "You are not signed in any more. Load the page again to sign in.", action: "reload" };
    case "forbidden":
      return { text: `You may not talk in this project: ${sentence(message)}`, action: "" };
    case "invalid_token":
      return { text: `The server refuses this page (${message}). Load it again.`, action: "reload" };
    case "unknown_pipeline":
      return { text: `${sentence(message)} Choose another pipeline.`, action: "reload" };
    case "client_too_old":
      return { text: "The server was upgraded since this page was opened. Load it again.", action: "reload" };
    default:
      return { text: `The session can't go on: ${sentence(message)}`, action: "again" };
  }
}

export const INSECURE =
  "Browsers give the microphone and the camera only to pages over https, or on this very machine. Start the server " +
  "with “openomni up --tls” and open its https address. You can type here: the answers come as text.";

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
