// What an import may take, and what it may leave out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace carrel {

struct ImportOptions {
  std::string name;  ///< "name:tag"; "" keeps the names in the input
  std::string ref;  ///< which image of several: its reference or name in the input; "" the only one

  /// Weakenings, each by its own name. Without them an image that holds such a thing is refused.
  bool strip_setuid = false;       ///< clear setuid, setgid and file capabilities of its programs
  bool drop_device_nodes = false;  ///< leave out device nodes and FIFOs

  /// Bounds against decompression bombs, for all layers together. The tar around an image is
  /// bounded by the same number of bytes.
  uint64_t max_bytes = uint64_t{40} << 30;
  uint64_t max_entries = 2'000'000;
};

/// What the weakenings took away, by path (printable).
struct Weakened {
  std::vector<std::string> stripped_setuid;
  std::vector<std::string> dropped_nodes;
};

}  // namespace carrel
