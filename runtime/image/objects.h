// The content of all images' files, each stored once.
//
// A file of a flattened tree is a hard link to objects/<2 hex>/<key>. A hard link shares the whole
// inode, not only the content: mode and modification time are one for all its names. So the key is
// the digest of content, mode and modification time; were it of the content alone, the second image
// would change the mode of the first one's file. (Python compares the time of a .py with the one
// inside its .pyc, so times are kept.) Owner and extended attributes are not in the key because
// they are the same for all: owner root, no attributes.
//
// An object that is there already is read before a tree gets it: one that the disk has damaged is
// replaced when no tree has it, else the import ends and says so.
//
// A file system has a limit of links to one inode (65,000 on ext4, and images hold many empty
// files): a name beyond it gets a copy of its own.
//
// Nothing is ever written to an object after it got its name, and no file of a tree has a write bit
// for anybody but root. The number of links tells when nobody uses an object any more: 1.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "image/tar_stream.h"

namespace carrel {

struct FileMeta {
  mode_t mode = 0644;  ///< permission bits only
  int64_t mtime = 0;   ///< seconds
  uint32_t mtime_ns = 0;
};

class ObjectWriter {
 public:
  /// `objects` and `work` are directories (borrowed) of one file system; `work` is this import's.
  ObjectWriter(int objects, int work) : objects_(objects), work_(work) {}

  /// Stores the content of the stream's present entry, `size` bytes long, and gives it the name
  /// `name` in `parent`, which must not exist.
  Result<void> Add(TarStream& stream, uint64_t size, const FileMeta& meta, int parent,
                   const std::string& name);

  /// Gives the file `from` in `from_dir` (made by Add) also the name `name` in `parent`.
  Result<void> AddName(int from_dir, const std::string& from, int parent, const std::string& name);

  /// Removes the objects of this import that its tree does not have: a later layer replaced or
  /// removed the file. Other imports may run.
  Result<void> RemoveUnused();

  /// The SHA-256 of the content of each inode that Add has named.
  const std::unordered_map<ino_t, std::string>& contents() const { return contents_; }

 private:
  Result<std::string> WriteContent(int fd, TarStream& stream, uint64_t size);
  Result<void> Finish(int fd, const FileMeta& meta);
  Result<void> CheckStored(const std::string& object, const std::string& content,
                           const FileMeta& meta);
  Result<void> Publish(const std::string& key, const std::string& content, const FileMeta& meta,
                       int parent, const std::string& name);

  int objects_;
  int work_;
  std::unordered_map<ino_t, std::string> contents_;
  std::vector<std::string> made_;  ///< names below `objects`
};

/// Removes the objects that no tree uses. Only under the store's exclusive lock.
Result<void> RemoveUnusedObjects(int objects);

}  // namespace carrel
