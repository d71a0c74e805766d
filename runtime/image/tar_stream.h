// A tar, possibly compressed, read once from the front: decompressed, counted and digested on the
// way. libarchive's errors become Results here.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace carrel {

enum class Compression { kNone, kGzip, kZstd };

/// By the first bytes of the file; leaves its offset alone.
Result<Compression> DetectCompression(int fd);

class TarStream {
 public:
  /// Reads `fd` (borrowed) from its present offset. More than `max_bytes` after decompression is an
  /// error, as is any other compression than the one named: a gzip inside a gzip is not unpacked.
  /// `where` starts the place in every error.
  static Result<std::unique_ptr<TarStream>> Open(int fd, Compression compression,
                                                 uint64_t max_bytes, std::string where);

  /// The next entry, valid until the next call; nullptr at the end of the archive. Names are the
  /// bytes that the archive holds, in whatever encoding (the program stays in the "C" locale).
  Result<archive_entry*> Next();

  struct Block {
    std::string_view data;
    uint64_t offset = 0;  ///< in the file: what lies between two blocks is a hole
    bool end = false;
  };
  /// The next piece of the present entry's content.
  Result<Block> ReadBlock();

  /// Reads what follows the last entry; the SHA-256 of all uncompressed bytes, 64 hex digits.
  Result<std::string> Finish();

 private:
  struct ArchiveFree {
    void operator()(archive* a) const { archive_read_free(a); }
  };
  using ArchivePtr = std::unique_ptr<archive, ArchiveFree>;

  TarStream(int fd, uint64_t max_bytes, std::string where)
      : fd_(fd), left_(max_bytes), max_bytes_(max_bytes), where_(std::move(where)) {}
  Result<void> OpenFilter(Compression compression);
  Result<std::string_view> Pull();
  Result<std::string_view> PullRaw();
  static la_ssize_t ReadCallback(archive* a, void* self, const void** buffer);
  Error ArchiveError(archive* a, const std::string& what);

  int fd_;
  uint64_t left_;
  uint64_t max_bytes_;
  std::string where_;
  std::vector<char> buffer_;
  Sha256 hash_;
  Error pull_error_;
  bool pull_failed_ = false;
  ArchivePtr filter_;  // decompression only, in libarchive's raw format
  ArchivePtr tar_;     // reads through ReadCallback, so that the digest sees every byte between
};

}  // namespace carrel
