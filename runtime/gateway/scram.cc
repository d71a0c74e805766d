#include "gateway/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <charconv>

#include "gateway/secret.h"

namespace carrel::gateway {
namespace {

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

std::string Hmac(std::string_view key, std::string_view data) {
  std::string mac(SHA256_DIGEST_LENGTH, '\0');
  ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()), Bytes(data), data.size(),
         Bytes(mac), nullptr);
  return mac;
}

std::string Digest(std::string_view data) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  ::SHA256(Bytes(data), data.size(), Bytes(digest));
  return digest;
}

std::string Xor(std::string left, std::string_view right) {
  for (size_t i = 0; i < left.size(); ++i) left[i] = static_cast<char>(left[i] ^ right[i]);
  return left;
}

// "r=value" of a list of attributes: takes it off the front of `list`.
Result<std::string_view> Attribute(std::string_view& list, char name) {
  if (list.size() < 2 || list[0] != name || list[1] != '=')
    return BadInput("scram", std::string("the message has no ") + name + " where one must be");
  const size_t comma = list.find(',');
  const std::string_view value = list.substr(2, comma == list.npos ? list.npos : comma - 2);
  list.remove_prefix(comma == list.npos ? list.size() : comma + 1);
  return value;
}

}  // namespace

std::string Base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = ::EVP_EncodeBlock(Bytes(text), Bytes(bytes), static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

Result<std::string> FromBase64(std::string_view text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = text.size() % 4 != 0 ? -1
                                        : ::EVP_DecodeBlock(Bytes(bytes), Bytes(text),
                                                            static_cast<int>(text.size()));
  if (size < 0) return BadInput("scram", "not base64");
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.resize(static_cast<size_t>(size) - padding);
  return bytes;
}

ScramKeys::~ScramKeys() {
  for (std::string* key : {&client_key, &stored_key, &server_key}) Wipe(*key);
}

Result<ScramKeys> ScramKeys::Derive(std::string_view password, std::string_view salt,
                                    uint32_t iterations) {
  ScramKeys keys;
  keys.salt = salt;
  keys.iterations = iterations;
  std::string salted(SHA256_DIGEST_LENGTH, '\0');
  if (::PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), Bytes(salt),
                          static_cast<int>(salt.size()), static_cast<int>(iterations),
                          ::EVP_sha256(), SHA256_DIGEST_LENGTH, Bytes(salted)) != 1)
    return Fault("scram", "PBKDF2 failed");
  keys.client_key = Hmac(salted, "Client Key");
  keys.stored_key = Digest(keys.client_key);
  keys.server_key = Hmac(salted, "Server Key");
  Wipe(salted);
  return keys;
}

Result<std::string> ScramServer::First(std::string_view message) {
  // gs2-header: "n,," or "y,,"; "p=" asks for channel binding, which was not offered. An
  // authorization identity is not accepted.
  if (!message.starts_with("n,,") && !message.starts_with("y,,"))
    return BadInput("scram", "the client asks for channel binding or another identity");
  header_ = message.substr(0, 3);
  const std::string_view bare = message.substr(3);
  std::string_view list = bare;
  CARREL_TRY(Attribute(list, 'n'));  // PostgreSQL's clients leave it empty; the startup has it
  CARREL_ASSIGN(const std::string_view nonce, Attribute(list, 'r'));
  if (nonce.empty() || nonce.size() > 512) return BadInput("scram", "no nonce");
  nonce_ = std::string(nonce) + nonce_;
  const std::string reply =
      "r=" + nonce_ + ",s=" + Base64(keys_.salt) + ",i=" + std::to_string(keys_.iterations);
  transcript_ = std::string(bare) + "," + reply;
  return reply;
}

Result<std::string> ScramServer::Final(std::string_view message) {
  const size_t proof_at = message.rfind(",p=");
  if (proof_at == message.npos) return BadInput("scram", "the client sends no proof");
  const std::string_view without = message.substr(0, proof_at);
  std::string_view list = without;
  CARREL_ASSIGN(const std::string_view binding, Attribute(list, 'c'));
  CARREL_ASSIGN(const std::string_view nonce, Attribute(list, 'r'));
  CARREL_ASSIGN(const std::string proof, FromBase64(message.substr(proof_at + 3)));
  if (binding != Base64(header_) || nonce != nonce_ || proof.size() != SHA256_DIGEST_LENGTH)
    return BadInput("scram", "the client's last message doesn't belong to its first");
  transcript_ += "," + std::string(without);
  const std::string client_key = Xor(Hmac(keys_.stored_key, transcript_), proof);
  if (!SameBytes(Digest(client_key), keys_.stored_key))
    return Refused("scram", "the password is wrong");
  return "v=" + Base64(Hmac(keys_.server_key, transcript_));
}

std::string ScramClient::First() {
  bare_ = "n=,r=" + nonce_;
  return binding_.header + bare_;
}

Result<void> ScramClient::Challenge(std::string_view message) {
  std::string_view list = message;
  CARREL_ASSIGN(const std::string_view nonce, Attribute(list, 'r'));
  CARREL_ASSIGN(const std::string_view salt, Attribute(list, 's'));
  CARREL_ASSIGN(const std::string_view count, Attribute(list, 'i'));
  if (!nonce.starts_with(nonce_) || nonce.size() <= nonce_.size() || nonce.size() > 1024)
    return BadInput("scram", "the server's nonce doesn't go on from ours");
  const auto parsed = std::from_chars(count.data(), count.data() + count.size(), iterations_);
  if (parsed.ec != std::errc() || parsed.ptr != count.data() + count.size() || iterations_ == 0 ||
      iterations_ > kMaxScramIterations)
    return BadInput("scram", "the server asks for an impossible number of iterations");
  CARREL_ASSIGN(salt_, FromBase64(salt));
  if (salt_.empty() || salt_.size() > 256) return BadInput("scram", "no salt");
  combined_ = nonce;
  challenge_ = message;
  return {};
}

std::string ScramClient::Final(const ScramKeys& keys) {
  const std::string without = "c=" + Base64(binding_.header + binding_.data) + ",r=" + combined_;
  const std::string transcript = bare_ + "," + challenge_ + "," + without;
  signature_ = Hmac(keys.server_key, transcript);
  const std::string proof = Xor(Hmac(keys.stored_key, transcript), keys.client_key);
  return without + ",p=" + Base64(proof);
}

Result<void> ScramClient::Verify(std::string_view message) const {
  if (!signature_.empty() && SameBytes(message, "v=" + Base64(signature_))) return {};
  return Refused("scram", "the server doesn't know the password: it is not the database");
}

std::string Md5Password(std::string_view user, std::string_view password, std::string_view salt) {
  auto hex = [](std::string_view first, std::string_view second) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string joined(first);
    joined += second;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    ::EVP_Digest(joined.data(), joined.size(), digest, &size, ::EVP_md5(), nullptr);
    Wipe(joined);
    std::string text;
    for (unsigned int i = 0; i < size; ++i)
      text += {kDigits[digest[i] >> 4], kDigits[digest[i] & 15]};
    return text;
  };
  std::string inner = hex(password, user);
  std::string outer = "md5" + hex(inner, salt);
  Wipe(inner);
  return outer;
}

}  // namespace carrel::gateway
