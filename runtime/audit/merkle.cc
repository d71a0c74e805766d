#include "audit/merkle.h"

#include <bit>
#include <span>
#include <string>

namespace carrel {
namespace {

using Leaves = std::span<const Hash>;

Hash NodeHash(const Hash& left, const Hash& right) {
  std::string bytes(1, '\1');
  bytes.append(reinterpret_cast<const char*>(left.data()), left.size());
  bytes.append(reinterpret_cast<const char*>(right.data()), right.size());
  return HashBytes(bytes);
}

// The largest power of two below n; n > 1.
uint64_t Split(uint64_t n) { return std::bit_floor(n - 1); }

Hash Root(Leaves leaves) {
  if (leaves.empty()) return HashBytes("");
  if (leaves.size() == 1) return leaves[0];
  const uint64_t k = Split(leaves.size());
  return NodeHash(Root(leaves.first(k)), Root(leaves.subspan(k)));
}

void Path(Leaves leaves, uint64_t index, std::vector<Hash>& proof) {
  if (leaves.size() <= 1) return;
  const uint64_t k = Split(leaves.size());
  if (index < k) {
    Path(leaves.first(k), index, proof);
    proof.push_back(Root(leaves.subspan(k)));
  } else {
    Path(leaves.subspan(k), index - k, proof);
    proof.push_back(Root(leaves.first(k)));
  }
}

// SUBPROOF of the RFC; `whole` is its b: the old tree is this subtree, which the verifier has.
void Subproof(Leaves leaves, uint64_t old_size, bool whole, std::vector<Hash>& proof) {
  if (old_size == leaves.size()) {
    if (!whole) proof.push_back(Root(leaves));
    return;
  }
  const uint64_t k = Split(leaves.size());
  if (old_size <= k) {
    Subproof(leaves.first(k), old_size, whole, proof);
    proof.push_back(Root(leaves.subspan(k)));
  } else {
    Subproof(leaves.subspan(k), old_size - k, false, proof);
    proof.push_back(Root(leaves.first(k)));
  }
}

}  // namespace

Hash LeafHash(std::string_view entry) { return HashBytes(std::string(1, '\0').append(entry)); }

void Frontier::Append(const Hash& leaf) {
  Hash root = leaf;
  for (uint64_t bit = size; (bit & 1) != 0; bit >>= 1) {
    root = NodeHash(roots.back(), root);
    roots.pop_back();
  }
  roots.push_back(root);
  ++size;
}

Hash Frontier::Root() const {
  if (roots.empty()) return HashBytes("");
  Hash root = roots.back();
  for (size_t i = roots.size() - 1; i > 0; --i) root = NodeHash(roots[i - 1], root);
  return root;
}

Hash MerkleRoot(const std::vector<Hash>& leaves) { return Root(leaves); }

std::vector<Hash> InclusionProof(const std::vector<Hash>& leaves, uint64_t index) {
  std::vector<Hash> proof;
  Path(leaves, index, proof);
  return proof;
}

std::vector<Hash> ConsistencyProof(const std::vector<Hash>& leaves, uint64_t old_size) {
  std::vector<Hash> proof;
  Subproof(leaves, old_size, true, proof);
  return proof;
}

// RFC 9162, section 2.1.3.2.
bool VerifyInclusion(const Hash& leaf, uint64_t index, uint64_t size,
                     const std::vector<Hash>& proof, const Hash& root) {
  if (index >= size) return false;
  uint64_t fn = index, sn = size - 1;
  Hash hash = leaf;
  for (const Hash& sibling : proof) {
    if (sn == 0) return false;
    if ((fn & 1) != 0 || fn == sn) {
      hash = NodeHash(sibling, hash);
      while (fn != 0 && (fn & 1) == 0) fn >>= 1, sn >>= 1;
    } else {
      hash = NodeHash(hash, sibling);
    }
    fn >>= 1;
    sn >>= 1;
  }
  return sn == 0 && hash == root;
}

// RFC 9162, section 2.1.4.2.
bool VerifyConsistency(uint64_t old_size, uint64_t new_size, const Hash& old_root,
                       const Hash& new_root, const std::vector<Hash>& proof) {
  if (old_size == 0 || old_size > new_size) return false;
  if (old_size == new_size) return proof.empty() && old_root == new_root;
  std::vector<Hash> path = proof;
  if (std::has_single_bit(old_size)) path.insert(path.begin(), old_root);
  if (path.empty()) return false;
  uint64_t fn = old_size - 1, sn = new_size - 1;
  while ((fn & 1) != 0) fn >>= 1, sn >>= 1;
  Hash fr = path[0], sr = path[0];
  for (size_t i = 1; i < path.size(); ++i) {
    if (sn == 0) return false;
    if ((fn & 1) != 0 || fn == sn) {
      fr = NodeHash(path[i], fr);
      sr = NodeHash(path[i], sr);
      while (fn != 0 && (fn & 1) == 0) fn >>= 1, sn >>= 1;
    } else {
      sr = NodeHash(sr, path[i]);
    }
    fn >>= 1;
    sn >>= 1;
  }
  return sn == 0 && fr == old_root && sr == new_root;
}

}  // namespace carrel
