// The player page of one box: /live/NAME, and /t/TOKEN/live/NAME for who has a link.

import { elsewhere, placeOf, thisBox } from "./page/addresses";
import { h } from "./page/dom";
import { openRoom } from "./watch/room";

const here = placeOf(location.pathname);
openRoom(here.name, thisBox(here), h("details", { class: "panel fold" }, h("summary", {}, "Watch on another device or in VLC"), elsewhere(here)));
