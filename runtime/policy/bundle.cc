#include "policy/bundle.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <memory>

#include "base/digest.h"
#include "base/fs.h"
#include "policy/names.h"

namespace carrel {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

constexpr const char* kFormat = "carrel-policy-bundle-1";
constexpr size_t kSeedBytes = 32;
constexpr size_t kSignatureBytes = 64;
constexpr size_t kMaxBundleBytes = 64u << 20;  // 16 MiB of files, escaped twice
constexpr int64_t kMaxSerial = int64_t{1} << 53;

using Bytes = std::vector<unsigned char>;

std::string Hex(const Bytes& bytes) {
  std::string hex(2 * bytes.size() + 1, '\0');
  OPENSSL_buf2hexstr_ex(hex.data(), hex.size(), nullptr, bytes.data(), bytes.size(), '\0');
  hex.pop_back();
  std::transform(hex.begin(), hex.end(), hex.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c | 0x20) : c; });
  return hex;
}

// Empty when `hex` is not `size` bytes.
Bytes Unhex(const std::string& hex, size_t size) {
  Bytes bytes(size);
  size_t length = 0;
  if (!IsLowerHex(hex, 2 * size) ||
      OPENSSL_hexstr2buf_ex(bytes.data(), size, &length, hex.c_str(), '\0') != 1 || length != size)
    return {};
  return bytes;
}

std::string Signed(const std::string& payload) { return std::string(kFormat) + "\n" + payload; }

const unsigned char* Raw(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// Reads no configuration of OpenSSL's: it could name another provider.
void InitOpenSsl() { OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr); }

Result<Key> PrivateKey(const std::string& seed) {
  InitOpenSsl();
  Bytes bytes = Unhex(seed, kSeedBytes);
  if (bytes.empty()) return BadInput("", "not a signing key: 64 hexadecimal digits are");
  Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()),
          &EVP_PKEY_free);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  if (key == nullptr) return Fault("", "OpenSSL did not take the key");
  return key;
}

bool IsSignatureGood(const std::string& payload, const std::string& hex,
                     const std::string& public_key) {
  InitOpenSsl();
  const Bytes signature = Unhex(hex, kSignatureBytes);
  const Bytes raw = Unhex(public_key, kSeedBytes);
  if (signature.empty() || raw.empty()) return false;
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw.data(), raw.size()),
                &EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const std::string text = Signed(payload);
  return key != nullptr && context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), Raw(text),
                          text.size()) == 1;
}

// The two members of the outer object.
struct Envelope {
  std::string payload;
  std::map<std::string, std::string> signatures;
};

Result<Envelope> OpenEnvelope(const std::string& text) {
  CARREL_ASSIGN(const Json document, ParseJson(text, "bundle", kMaxBundleBytes));
  JsonObject in(document, "");
  Envelope envelope;
  const Json* payload = in.Any("payload");
  if (payload != nullptr && payload->is_string())
    envelope.payload = payload->get<std::string>();
  else
    in.Problem("payload", "must be a text");
  if (!in.Has("signatures")) in.Problem("signatures", "is required");
  envelope.signatures = in.StringMap("signatures").value_or(envelope.signatures);
  CARREL_TRY(in.Finish());
  return envelope;
}

std::string CloseEnvelope(const Envelope& envelope) {
  return OrderedJson{{"payload", envelope.payload}, {"signatures", envelope.signatures}}.dump(1) +
         "\n";
}

void DecodeFiles(JsonObject& in, PolicyFiles& files) {
  const Json* value = in.Any("files");
  if (value == nullptr || !value->is_object()) return in.Problem("files", "must be an object");
  for (const auto& [path, content] : value->items()) {
    if (!IsNormalRelativePath(path) || !content.is_string())
      in.Problem("files", "must be texts by relative path");
    else
      files[path] = content.get<std::string>();
  }
}

Result<PolicyBundle> DecodePayload(const std::string& payload) {
  CARREL_ASSIGN(const Json document, ParseJson(payload, "payload", kMaxBundleBytes));
  JsonObject in(document, "");
  PolicyBundle bundle;
  if (in.RequiredString("format", 64) != kFormat)
    in.Problem("format", "is not " + std::string(kFormat));
  bundle.serial = in.RequiredInt("serial", 1, kMaxSerial);
  auto last_day = ParseDate(in.RequiredString("expires", 32));
  if (last_day)
    bundle.until_ns = *last_day + kDayNs;
  else
    in.Problem("expires", "must be a date such as \"2027-01-31\"");
  bundle.commit = in.String("commit", 128).value_or("");
  DecodeFiles(in, bundle.files);
  CARREL_TRY(in.Finish());
  return bundle;
}

}  // namespace

Result<std::string> MakeBundle(const BundleContent& content) {
  CARREL_TRY(DecodePolicy(content.files));
  OrderedJson payload = {{"format", kFormat},
                         {"serial", content.serial},
                         {"expires", content.expires},
                         {"commit", content.commit},
                         {"files", content.files}};
  Envelope envelope;
  try {
    envelope.payload = payload.dump();
  } catch (const Json::exception&) {
    return BadInput("", "a file of the policy is not UTF-8");
  }
  CARREL_TRY(DecodePayload(envelope.payload));
  return CloseEnvelope(envelope);
}

Result<std::string> MakeSigningSeed() {
  InitOpenSsl();
  Bytes seed(kSeedBytes);
  if (RAND_priv_bytes(seed.data(), static_cast<int>(seed.size())) != 1)
    return Fault("", "OpenSSL has no random numbers");
  return Hex(seed);
}

Result<std::string> PublicKeyOf(const std::string& seed) {
  CARREL_ASSIGN(const Key key, PrivateKey(seed));
  Bytes raw(kSeedBytes);
  size_t size = raw.size();
  if (EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &size) != 1)
    return Fault("", "OpenSSL did not give the public key");
  return Hex(raw);
}

std::string SigningKeyId(const std::string& public_key) {
  return Sha256Hex(public_key).substr(0, 16);
}

Result<std::string> SignBundle(const std::string& text, const std::string& seed) {
  CARREL_ASSIGN(Envelope envelope, OpenEnvelope(text));
  CARREL_TRY(DecodePayload(envelope.payload));
  CARREL_ASSIGN(const Key key, PrivateKey(seed));
  CARREL_ASSIGN(const std::string public_key, PublicKeyOf(seed));
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const std::string whole = Signed(envelope.payload);
  Bytes signature(kSignatureBytes);
  size_t size = signature.size();
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &size, Raw(whole), whole.size()) != 1)
    return Fault("", "OpenSSL could not sign");
  envelope.signatures[SigningKeyId(public_key)] = Hex(signature);
  return CloseEnvelope(envelope);
}

Result<PolicyBundle> ReadBundle(const std::string& text, const std::vector<std::string>& keys) {
  CARREL_ASSIGN(const Envelope envelope, OpenEnvelope(text));
  std::set<std::string> signers;
  for (const std::string& key : keys) {
    auto signature = envelope.signatures.find(SigningKeyId(key));
    if (signature != envelope.signatures.end() &&
        IsSignatureGood(envelope.payload, signature->second, key))
      signers.insert(signature->first);
  }
  CARREL_ASSIGN(PolicyBundle bundle, DecodePayload(envelope.payload));
  bundle.signers = std::move(signers);
  return bundle;
}

Result<PolicyBundle> VerifyBundle(const std::string& text, const BundleRules& rules,
                                  int64_t now_ns) {
  CARREL_ASSIGN(PolicyBundle bundle, ReadBundle(text, rules.keys));
  if (std::ssize(bundle.signers) < rules.signatures)
    return Refused("policy",
                   "the bundle has " + std::to_string(bundle.signers.size()) +
                       " good signatures of the keys that the configuration lists; it needs " +
                       std::to_string(rules.signatures),
                   "An altered bundle has none: fetch it again, or have it signed with `carrel "
                   "policy sign`");
  if (now_ns >= bundle.until_ns)
    return Refused("policy", "the bundle has expired", "Publish one with a later last day");
  if (bundle.serial < rules.minimum_serial)
    return Refused("policy",
                   "the bundle has the serial " + std::to_string(bundle.serial) +
                       "; the configuration demands at least " +
                       std::to_string(rules.minimum_serial),
                   "An older bundle was put back: install the present one");
  return bundle;
}

}  // namespace carrel
