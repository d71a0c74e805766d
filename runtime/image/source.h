// What is imported: a directory, or a tar, of an OCI layout or of a docker-archive. Each file that
// the import needs is copied into the import's own directory first and digested on the way: what is
// checked is what is used, whatever happens to the input meanwhile.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "image/import_options.h"

namespace carrel {

/// A private copy, in the work directory.
struct SourceFile {
  std::string work_name;
  uint64_t size = 0;
  std::string sha256;  ///< 64 hex digits
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;

  /// `work` is the import's directory (borrowed). A tar is unpacked into it, under names of our
  /// own.
  static Result<std::unique_ptr<ImageSource>> Open(const std::string& path, int work,
                                                   const ImportOptions& options);

  virtual bool Has(const std::string& name) = 0;

  /// kBadInput when the file is missing, is no regular file, or is longer than `max_bytes`.
  virtual Result<SourceFile> Fetch(const std::string& name, uint64_t max_bytes) = 0;

  /// Fetches and reads a document.
  Result<std::string> ReadDocument(const std::string& name);

  /// The import's directory, which holds the copies.
  int work() const { return work_; }

  /// The path as the user gave it, printable: starts the place in errors.
  const std::string& where() const { return where_; }

 protected:
  ImageSource(int work, std::string where) : work_(work), where_(std::move(where)) {}
  Error Problem(const std::string& name, const std::string& what,
                const std::string& hint = "") const;

  int work_;
  std::string where_;
};

}  // namespace carrel
