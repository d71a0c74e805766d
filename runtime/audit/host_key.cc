#include "audit/host_key.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <sys/file.h>

#include <memory>

#include "base/digest.h"
#include "base/fs.h"

namespace carrel {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

constexpr size_t kSeedBytes = 32;

// No configuration file is read: it would cost time, and could name another provider.
void InitOpenSsl() { OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr); }

std::string ToHex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (char c : bytes) {
    hex += kDigits[static_cast<uint8_t>(c) >> 4];
    hex += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return hex;
}

std::string FromHex(std::string_view hex) {
  auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1]));
  return bytes;
}

// A key file: hexadecimal digits and a newline.
Result<std::string> ReadHex(int dir, const std::string& name, size_t bytes) {
  CARREL_ASSIGN(UniqueFd fd, OpenBeneath(dir, name, O_RDONLY | O_NOFOLLOW));
  CARREL_ASSIGN(std::string text, ReadFd(fd.get(), 4096));
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!IsLowerHex(text, 2 * bytes)) return Fault("keys/" + name, "not a key");
  return FromHex(text);
}

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

std::string IdOf(std::string_view public_key) { return Sha256Hex(public_key).substr(0, 16); }

Result<std::string> MakeKey(int dir) {
  // Only one of several first jobs makes it.
  if (::flock(dir, LOCK_EX) != 0) return SysFault("keys", "flock");
  if (auto there = ReadHex(dir, "audit.key", kSeedBytes)) return there;
  std::string seed(kSeedBytes, '\0');
  randombytes_buf(seed.data(), seed.size());
  unsigned char secret[crypto_sign_SECRETKEYBYTES];
  std::string public_key(crypto_sign_PUBLICKEYBYTES, '\0');
  crypto_sign_seed_keypair(Bytes(public_key), secret, Bytes(seed));
  sodium_memzero(secret, sizeof secret);
  CARREL_TRY(WriteFileAtomic(dir, IdOf(public_key) + ".pub", ToHex(public_key) + "\n", 0644));
  CARREL_TRY(WriteFileAtomic(dir, "audit.key", ToHex(seed) + "\n", 0600));
  (void)::flock(dir, LOCK_UN);
  return seed;
}

}  // namespace

HostKey::~HostKey() { sodium_memzero(secret_.data(), secret_.size()); }

Result<HostKey> HostKey::Open(const std::string& state_dir) {
  if (sodium_init() < 0) return Fault("audit", "libsodium could not start");
  CARREL_ASSIGN(UniqueFd dir, MakeDirs(state_dir + "/keys", 0700));
  auto seed = ReadHex(dir.get(), "audit.key", kSeedBytes);
  if (!seed && seed.error().code == ENOENT) seed = MakeKey(dir.get());
  if (!seed) return std::move(seed).error();
  HostKey key;
  std::string public_key(crypto_sign_PUBLICKEYBYTES, '\0');
  crypto_sign_seed_keypair(Bytes(public_key), key.secret_.data(), Bytes(*seed));
  sodium_memzero(seed->data(), seed->size());
  key.id_ = IdOf(public_key);
  return key;
}

Result<Signature> HostKey::Sign(std::string_view text) const {
  std::string raw(crypto_sign_BYTES, '\0');
  crypto_sign_detached(Bytes(raw), nullptr, reinterpret_cast<const unsigned char*>(text.data()),
                       text.size(), secret_.data());
  return Signature{id_, ToHex(raw)};
}

Result<SignatureCheck> CheckSignature(const std::string& state_dir, std::string_view text,
                                      const Signature& signature) {
  if (!IsLowerHex(signature.key_id, 16) || !IsLowerHex(signature.hex, 128))
    return SignatureCheck::kBad;
  InitOpenSsl();
  auto dir = OpenPath(state_dir + "/keys", O_RDONLY | O_DIRECTORY);
  if (!dir && dir.error().code == ENOENT) return SignatureCheck::kUnknownKey;
  if (!dir) return std::move(dir).error();
  auto public_key = ReadHex(dir->get(), signature.key_id + ".pub", kSeedBytes);
  if (!public_key && public_key.error().code == ENOENT) return SignatureCheck::kUnknownKey;
  if (!public_key) return std::move(public_key).error();
  Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                      reinterpret_cast<const unsigned char*>(public_key->data()),
                                      public_key->size()),
          &EVP_PKEY_free);
  Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const std::string raw = FromHex(signature.hex);
  if (!key || !context ||
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1)
    return Fault("audit", "OpenSSL cannot check a signature");
  const int good = EVP_DigestVerify(
      context.get(), reinterpret_cast<const unsigned char*>(raw.data()), raw.size(),
      reinterpret_cast<const unsigned char*>(text.data()), text.size());
  return good == 1 ? SignatureCheck::kGood : SignatureCheck::kBad;
}

}  // namespace carrel
