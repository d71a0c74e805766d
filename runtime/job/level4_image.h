// Pictures at level 4: from the first byte to the last they must be what their name says.
#pragma once

#include "job/level4_text.h"

namespace carrel {

inline constexpr size_t kMaxBesidePicture = 64u << 10;
inline constexpr int64_t kMaxRowsBesidePicture = 100;
extern const char kBesidePicture[];  ///< why more than that is refused

/// Refuses data beside a picture (comments, texts, profiles) that names patient identifiers, or is
/// text with more than a hundred rows of a table.
Refusal CheckBesidePicture(std::string_view data);

/// Refuses what is not exactly one PNG: chunks with right lengths and checksums, picture data that
/// inflates to the size the header states and ends there, nothing after IEND, and at most 64 KiB
/// beside the picture (texts, profiles), which CheckBesidePicture accepts, also when inflated.
Refusal CheckPng(std::string_view data);

/// Refuses what is not exactly one JPEG: segments from SOI to EOI, nothing after, at most 64 KiB of
/// comments and application data, which CheckBesidePicture accepts, and scans that libjpeg decodes
/// to the last byte without a warning. At most 50 million pixels.
Refusal CheckJpeg(std::string_view data);

/// Inflates an .svgz: exactly one gzip member and nothing after. The text goes to `text`; more than
/// `max_bytes` is refused.
Refusal InflateSvgz(std::string_view data, uint64_t max_bytes, std::string* text);

}  // namespace carrel
