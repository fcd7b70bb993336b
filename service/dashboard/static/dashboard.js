// Conveniences only: without this file every page reads and every form works.
"use strict";
