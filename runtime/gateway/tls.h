// TLS to a database, without I/O: ciphertext in and out, for a Protocol to put between its own
// bytes and the Link's. (Each database protocol begins TLS in a way of its own.)
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "gateway/upstream.h"

struct ssl_st;
struct ssl_ctx_st;
struct bio_st;

namespace carrel::gateway {

/// How to check the server; made once for a job, before its start.
class TlsContext {
 public:
  /// kBadInput when the certificates cannot be read. `upstream.tls` must not be kDisable.
  static Result<std::unique_ptr<TlsContext>> Make(const Upstream& upstream);
  ~TlsContext();

 private:
  friend class TlsEngine;
  TlsContext() = default;
  ssl_ctx_st* context_ = nullptr;
  std::string host_;
  bool check_name_ = false;
};

/// The client's side of one TLS connection.
class TlsEngine {
 public:
  static Result<std::unique_ptr<TlsEngine>> Make(const TlsContext& context);
  ~TlsEngine();
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;

  /// Begins the handshake, or goes on with it: call after Make and then take `output`.
  Result<void> Handshake();
  bool secured() const { return secured_; }
  /// The digest of the server's certificate as RFC 5929 (tls-server-end-point) has it, once
  /// secured; empty where its signature has none (Ed25519).
  std::string EndPoint() const;

  /// Ciphertext from the server. What it says goes to `plain`, piece by piece; a piece is valid
  /// during the call. An error (a certificate that is not the server's, a broken record) is final.
  Result<void> Receive(std::string_view cipher, const std::function<void(std::string_view)>& plain);
  /// Encrypts; only once secured.
  Result<void> Encrypt(std::string_view plain);

  /// Ciphertext for the server, valid until the next call; empty when there is none.
  std::string_view output() const;
  void ClearOutput();

 private:
  TlsEngine() = default;
  Error Failure(const std::string& what) const;

  ssl_st* ssl_ = nullptr;
  bio_st* in_ = nullptr;   // owned by ssl_
  bio_st* out_ = nullptr;  // owned by ssl_
  bool secured_ = false;
  std::string buffer_;
};

}  // namespace carrel::gateway
