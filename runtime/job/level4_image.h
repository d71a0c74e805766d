// Pictures at level 4: from the first byte to the last they must be what their name says.
#pragma once

#include "job/level4_text.h"

namespace carrel {

/// Refuses what is not exactly one PNG: chunks with right lengths and checksums, picture data that
/// inflates to the size the header states and ends there, nothing after IEND, and at most 64 KiB
/// beside the picture (texts, profiles), without patient identifiers.
Refusal CheckPng(std::string_view data);

/// Refuses what is not exactly one JPEG: segments from SOI to EOI, nothing after, at most 64 KiB of
/// comments and application data, without patient identifiers.
Refusal CheckJpeg(std::string_view data);

/// Inflates an .svgz: exactly one gzip member and nothing after. The text goes to `text`; more than
/// `max_bytes` is refused.
Refusal InflateSvgz(std::string_view data, uint64_t max_bytes, std::string* text);

}  // namespace carrel
