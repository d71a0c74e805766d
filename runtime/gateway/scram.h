// SCRAM-SHA-256 (RFC 5802, RFC 7677) from both ends, and PostgreSQL's older md5 login. With channel
// binding (RFC 5929, tls-server-end-point) to a server that offers it; none to the gateway's own
// clients, who are on a loopback of their own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel::gateway {

/// What proves a password, for one salt and number of iterations. As secret as the password.
struct ScramKeys {
  std::string salt;
  uint32_t iterations = 0;
  std::string client_key, stored_key, server_key;

  ScramKeys() = default;
  ScramKeys(ScramKeys&&) = default;
  ScramKeys& operator=(ScramKeys&&) = default;
  ~ScramKeys();

  static Result<ScramKeys> Derive(std::string_view password, std::string_view salt,
                                  uint32_t iterations);
};

/// More would be a hostile server's: this many take about a tenth of a second.
inline constexpr uint32_t kMaxScramIterations = 200'000;

/// Lets a client in.
class ScramServer {
 public:
  /// `keys` must live longer. `nonce`: printable, random.
  ScramServer(const ScramKeys& keys, std::string nonce) : keys_(keys), nonce_(std::move(nonce)) {}

  /// The client's first message to the server's first; kBadInput when it's not one.
  Result<std::string> First(std::string_view message);
  /// The client's last message to the server's last; kRefused when the proof is wrong.
  Result<std::string> Final(std::string_view message);

 private:
  const ScramKeys& keys_;
  std::string nonce_, header_, transcript_;
};

/// What ties a login to the TLS connection that it goes through: somebody between, with a
/// certificate of his own, cannot pass it on.
struct ChannelBinding {
  std::string header = "n,,";  ///< "y,,": we could, the server says that it can't
  std::string data;            ///< of the server's certificate

  /// To the server whose certificate has this digest (TlsEngine::EndPoint).
  static ChannelBinding To(std::string end_point) {
    return {"p=tls-server-end-point,,", std::move(end_point)};
  }
};

/// Logs in to a server.
class ScramClient {
 public:
  explicit ScramClient(std::string nonce, ChannelBinding binding = {})
      : nonce_(std::move(nonce)), binding_(std::move(binding)) {}

  std::string First();
  /// Reads the server's first message: its salt and iterations, for Derive. Bounded.
  Result<void> Challenge(std::string_view message);
  const std::string& salt() const { return salt_; }
  uint32_t iterations() const { return iterations_; }
  /// The client's last message; `keys` are of that salt and iterations.
  std::string Final(const ScramKeys& keys);
  /// Checks that the server knows the password too.
  Result<void> Verify(std::string_view message) const;

 private:
  std::string nonce_, bare_, challenge_, combined_, salt_, signature_;
  ChannelBinding binding_;
  uint32_t iterations_ = 0;
};

/// "md5" and 32 digits, as PostgreSQL wants it. `salt` has 4 bytes.
std::string Md5Password(std::string_view user, std::string_view password, std::string_view salt);

std::string Base64(std::string_view bytes);
/// kBadInput when it is not base64.
Result<std::string> FromBase64(std::string_view text);

}  // namespace carrel::gateway
