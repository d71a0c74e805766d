// The append-only tree of RFC 6962 (Certificate Transparency), section 2.1.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "audit/block.h"

namespace carrel {

/// From 64 lower-case hexadecimal digits (public_log.cc).
Result<Hash> HashFromHex(std::string_view hex);

/// SHA-256 of 0x00 and the entry.
Hash LeafHash(std::string_view entry);

/// What must be kept of a tree to go on appending: the roots of its full subtrees, largest first.
struct Frontier {
  uint64_t size = 0;
  std::vector<Hash> roots;

  void Append(const Hash& leaf);
  /// SHA-256 of nothing for an empty tree.
  Hash Root() const;
};

/// The root over `leaves`.
Hash MerkleRoot(const std::vector<Hash>& leaves);

/// The audit path of leaf `index` in the tree of all `leaves`; index < leaves.size().
std::vector<Hash> InclusionProof(const std::vector<Hash>& leaves, uint64_t index);

/// That the tree of the first `old_size` leaves is the beginning of the tree of all;
/// 0 < old_size <= leaves.size().
std::vector<Hash> ConsistencyProof(const std::vector<Hash>& leaves, uint64_t old_size);

bool VerifyInclusion(const Hash& leaf, uint64_t index, uint64_t size,
                     const std::vector<Hash>& proof, const Hash& root);
bool VerifyConsistency(uint64_t old_size, uint64_t new_size, const Hash& old_root,
                       const Hash& new_root, const std::vector<Hash>& proof);

}  // namespace carrel
