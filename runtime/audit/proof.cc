#include "audit/proof.h"

namespace carrel {
namespace {

OrderedJson HashList(const std::vector<Hash>& hashes) {
  OrderedJson list = OrderedJson::array();
  for (const Hash& hash : hashes) list.push_back(HexOf(hash));
  return list;
}

void AddHead(const PublicLog& log, OrderedJson& proof) {
  proof["tree_size"] = log.leaves.size();
  proof["root"] = HexOf(log.head.frontier.Root());
  proof["head"] = log.head.text;
  proof["key"] = log.head.key_id;
  proof["signature"] = log.head.signature;
}

Result<std::vector<Hash>> ReadHashes(JsonObject& in, const char* key) {
  std::vector<Hash> hashes;
  for (const std::string& hex : in.Strings(key).value_or(std::vector<std::string>{})) {
    CARREL_ASSIGN(const Hash hash, HashFromHex(hex));
    hashes.push_back(hash);
  }
  return hashes;
}

// The members that both kinds of proof have.
struct ProofHead {
  TreeHead head;
  ProofVerdict verdict;
};

Result<ProofHead> ReadProofHead(const std::string& state_dir, JsonObject& in) {
  const Json outer = {{"head", in.RequiredString("head", 65536)},
                      {"key", in.RequiredString("key")},
                      {"signature", in.RequiredString("signature")}};
  const auto size = static_cast<uint64_t>(in.RequiredInt("tree_size", 0, INT64_MAX));
  const std::string root = in.RequiredString("root");
  ProofHead out;
  auto head = ParseHead(state_dir, outer.dump(), &out.verdict.finding);
  if (!head) {
    out.verdict.what = head.error().ToString();
    return out;
  }
  out.head = std::move(*head);
  // What a person reads beside the signed text must be what was signed.
  if (out.head.frontier.size != size || HexOf(out.head.frontier.Root()) != root) {
    out.verdict.finding = LogFinding::kAltered;
    out.verdict.what = "size or root is not that of the signed head";
  }
  return out;
}

}  // namespace

OrderedJson ProveInclusion(const PublicLog& log, uint64_t index) {
  OrderedJson proof = {{"proof_of", "inclusion"},
                       {"record", log.records[index]},
                       {"leaf", HexOf(log.leaves[index])},
                       {"index", index},
                       {"proof", HashList(InclusionProof(log.leaves, index))}};
  AddHead(log, proof);
  return proof;
}

Result<OrderedJson> ProveConsistency(const PublicLog& log, uint64_t old_size) {
  if (old_size == 0 || old_size > log.leaves.size())
    return BadInput("--consistency", "the public log has " + std::to_string(log.leaves.size()) +
                                         " records: it never had " + std::to_string(old_size));
  const std::vector<Hash> older(log.leaves.begin(),
                                log.leaves.begin() + static_cast<ptrdiff_t>(old_size));
  OrderedJson proof = {{"proof_of", "consistency"},
                       {"old_size", old_size},
                       {"old_root", HexOf(MerkleRoot(older))},
                       {"proof", HashList(ConsistencyProof(log.leaves, old_size))}};
  AddHead(log, proof);
  return proof;
}

Result<ProofVerdict> CheckProof(const std::string& state_dir, const Json& proof) {
  JsonObject in(proof, "");
  const std::string kind = in.RequiredString("proof_of");
  CARREL_ASSIGN(const std::vector<Hash> path, ReadHashes(in, "proof"));
  CARREL_ASSIGN(ProofHead head, ReadProofHead(state_dir, in));
  const uint64_t size = head.head.frontier.size;
  bool good = false;
  std::string what;
  if (kind == "inclusion") {
    const std::string record = in.RequiredString("record", 65536);
    CARREL_ASSIGN(const Hash leaf, HashFromHex(in.RequiredString("leaf")));
    const auto index = static_cast<uint64_t>(in.RequiredInt("index", 0, INT64_MAX));
    good = leaf == LeafHash(record) &&
           VerifyInclusion(leaf, index, size, path, head.head.frontier.Root());
    what = "the record is number " + std::to_string(index) + " of the " + std::to_string(size);
  } else if (kind == "consistency") {
    const auto old_size = static_cast<uint64_t>(in.RequiredInt("old_size", 1, INT64_MAX));
    const std::string old_root = in.RequiredString("old_root");
    CARREL_ASSIGN(const Hash root, HashFromHex(old_root));
    good = VerifyConsistency(old_size, size, root, head.head.frontier.Root(), path);
    what = "the log of " + std::to_string(old_size) + " records with root " + old_root +
           " is the beginning of the " + std::to_string(size);
  } else {
    in.Problem("proof_of", "neither inclusion nor consistency");
  }
  CARREL_TRY(in.Finish());
  if (head.verdict.finding != LogFinding::kWhole) return head.verdict;
  if (!good) return ProofVerdict{LogFinding::kAltered, "the hashes do not lead to the signed root"};
  return ProofVerdict{LogFinding::kWhole, what + " under the signed head"};
}

bool IsBeginningOf(const TreeHead& older, const PublicLog& log) {
  if (older.frontier.size > log.leaves.size()) return false;
  const std::vector<Hash> first(log.leaves.begin(),
                                log.leaves.begin() + static_cast<ptrdiff_t>(older.frontier.size));
  return MerkleRoot(first) == older.frontier.Root();
}

}  // namespace carrel
