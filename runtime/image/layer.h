// Applies the layers of an image, one after the other, to one directory tree.
//
// The rules, for entries which may have been made by an attacker:
//  - a name is relative, without "..", at most 128 components and 4000 bytes; what it passes
//    through must be real directories of the tree: a link in the way is refused, never followed
//  - only directories, regular files, symbolic links and hard links. Devices, FIFOs, setuid,
//    setgid and file capabilities are refused, unless ImportOptions says otherwise
//  - a hard link names, relatively, a file that is already in the tree
//  - a symbolic link may say anything: it is only ever resolved inside the root
//  - a path may come twice in one layer only as a directory. Tools disagree on which of two wins,
//    so that one who checks the image and one who runs it would see different files
//  - whiteouts (".wh.NAME", ".wh..wh..opq") hide what lower layers have, not this layer's own
//    entries, wherever in the layer they stand
//  - everything belongs to root; extended attributes (which could speak to overlayfs or to security
//    modules), access control lists and file flags are dropped; no write bit but the owner's
//  - the root directory's own entry is ignored: it is 0755
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "base/unique_fd.h"
#include "image/import_options.h"
#include "image/objects.h"
#include "image/tar_stream.h"

namespace carrel {

/// The normal form ("usr/bin/env", "" for the root) of an entry's name, or why it is refused.
Result<std::string> NormalEntryPath(std::string_view raw);

class LayerApplier {
 public:
  /// `tree` is the directory (borrowed) that becomes the root.
  LayerApplier(int tree, ObjectWriter& objects, const ImportOptions& options)
      : tree_(tree), objects_(objects), options_(options) {}

  /// Applies one layer; returns the SHA-256 (64 hex digits) of its uncompressed tar. The whole tar
  /// is read: compare the digest before the tree is used for anything.
  Result<std::string> Apply(int fd, Compression compression, const std::string& where);

  /// Mode and time of the directories, by path: to be set when all layers are there.
  const std::map<std::string, FileMeta>& directories() const { return directories_; }
  const Weakened& weakened() const { return weakened_; }
  uint64_t entries() const { return entries_; }

 private:
  struct Entry {
    archive_entry* raw;
    std::string path;    // normal
    std::string parent;  // "" for the root
    std::string name;
  };

  Result<void> ApplyEntry(TarStream& stream, archive_entry* raw);
  Result<void> ApplyWhiteout(const Entry& entry);
  Result<void> MakeNode(TarStream& stream, const Entry& entry);
  Result<void> MakeDirectory(int parent, const Entry& entry);
  Result<void> MakeFile(TarStream& stream, int parent, const Entry& entry);
  Result<void> MakeSymlink(int parent, const Entry& entry, const std::string& target);
  Result<void> MakeHardLink(int parent, const Entry& entry, const char* target);
  Result<void> DropNode(int parent, const Entry& entry);

  Result<void> Weaken(std::vector<std::string>& list, const Entry& entry);
  Result<bool> CheckPrivilege(const Entry& entry);
  Result<void> Note(const std::string& path, bool directory);
  Result<UniqueFd> OpenParent(const std::string& path);
  Result<void> ClearPlace(int parent, const Entry& entry, bool for_directory);
  bool IsBelowOwnFile(std::string path) const;
  Result<void> HideLower(int parent, const std::string& parent_path, const std::string& name);
  Result<void> HideLowerEntries(const std::string& path);
  void ForgetDirectories(const std::string& path);

  int tree_;
  ObjectWriter& objects_;
  const ImportOptions& options_;
  uint64_t bytes_ = 0;
  uint64_t entries_ = 0;
  std::map<std::string, FileMeta> directories_;
  std::unordered_map<std::string, bool> present_;  // paths of the present layer: is it a directory?
  Weakened weakened_;
};

}  // namespace carrel
