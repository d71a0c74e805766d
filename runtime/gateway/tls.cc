#include "gateway/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace carrel::gateway {
namespace {

std::string LastError() {
  const unsigned long code = ::ERR_get_error();
  ::ERR_clear_error();
  const char* reason = code != 0 ? ::ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "unknown error";
}

bool IsAddress(const std::string& host) {
  unsigned char address[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, host.c_str(), address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), address) == 1;
}

}  // namespace

TlsContext::~TlsContext() { ::SSL_CTX_free(context_); }

Result<std::unique_ptr<TlsContext>> TlsContext::Make(const Upstream& upstream) {
  std::unique_ptr<TlsContext> made(new TlsContext);
  made->context_ = ::SSL_CTX_new(::TLS_client_method());
  if (made->context_ == nullptr) return Fault("tls", LastError());
  ::SSL_CTX_set_min_proto_version(made->context_, TLS1_2_VERSION);
  // The password goes through it once; nothing is gained by resuming, or by renegotiating.
  ::SSL_CTX_set_options(made->context_, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  ::SSL_CTX_set_session_cache_mode(made->context_, SSL_SESS_CACHE_OFF);
  made->host_ = upstream.host;
  made->check_name_ = upstream.tls == TlsMode::kVerifyFull;
  if (upstream.tls == TlsMode::kRequire) return made;
  ::SSL_CTX_set_verify(made->context_, SSL_VERIFY_PEER, nullptr);
  const bool loaded =
      upstream.ca_file.empty()
          ? ::SSL_CTX_set_default_verify_paths(made->context_) == 1
          : ::SSL_CTX_load_verify_file(made->context_, upstream.ca_file.c_str()) == 1;
  if (!loaded) return BadInput(upstream.ca_file, "not certificates in PEM: " + LastError());
  return made;
}

Result<std::unique_ptr<TlsEngine>> TlsEngine::Make(const TlsContext& context) {
  std::unique_ptr<TlsEngine> engine(new TlsEngine);
  engine->ssl_ = ::SSL_new(context.context_);
  engine->in_ = ::BIO_new(::BIO_s_mem());
  engine->out_ = ::BIO_new(::BIO_s_mem());
  if (engine->ssl_ == nullptr || engine->in_ == nullptr || engine->out_ == nullptr) {
    ::BIO_free(engine->in_);
    ::BIO_free(engine->out_);
    return Fault("tls", LastError());
  }
  ::SSL_set_bio(engine->ssl_, engine->in_, engine->out_);
  ::SSL_set_connect_state(engine->ssl_);
  const std::string& host = context.host_;
  bool named = true;
  if (!IsAddress(host)) named = ::SSL_set_tlsext_host_name(engine->ssl_, host.c_str()) == 1;
  if (context.check_name_) {
    X509_VERIFY_PARAM* param = ::SSL_get0_param(engine->ssl_);
    named = named && (IsAddress(host)
                          ? ::X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str()) == 1
                          : ::X509_VERIFY_PARAM_set1_host(param, host.c_str(), host.size()) == 1);
  }
  if (!named) return Fault("tls", LastError());
  return engine;
}

TlsEngine::~TlsEngine() {
  ::SSL_free(ssl_);
  OPENSSL_cleanse(buffer_.data(), buffer_.size());
}

Error TlsEngine::Failure(const std::string& what) const {
  const long verified = ::SSL_get_verify_result(ssl_);
  const std::string why =
      verified != X509_V_OK ? ::X509_verify_cert_error_string(verified) : LastError();
  ::ERR_clear_error();
  return Fault("tls", what + ": " + why);
}

Result<void> TlsEngine::Handshake() {
  ::ERR_clear_error();
  const int done = ::SSL_do_handshake(ssl_);
  if (done == 1) {
    secured_ = true;
    return {};
  }
  const int error = ::SSL_get_error(ssl_, done);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {};
  return Failure("the database's TLS");
}

std::string TlsEngine::EndPoint() const {
  X509* const certificate = ::SSL_get0_peer_certificate(ssl_);
  int digest = NID_undef;
  if (certificate == nullptr ||
      ::OBJ_find_sigid_algs(::X509_get_signature_nid(certificate), &digest, nullptr) != 1)
    return "";
  // What is too weak for this is replaced.
  if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
  const EVP_MD* const method = ::EVP_get_digestbynid(digest);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (method == nullptr || ::X509_digest(certificate, method, bytes, &size) != 1) return "";
  return {reinterpret_cast<const char*>(bytes), size};
}

Result<void> TlsEngine::Receive(std::string_view cipher,
                                const std::function<void(std::string_view)>& plain) {
  if (::BIO_write(in_, cipher.data(), static_cast<int>(cipher.size())) !=
      static_cast<int>(cipher.size()))
    return Fault("tls", "out of memory");
  if (!secured_) CARREL_TRY(Handshake());
  if (!secured_) return {};
  buffer_.resize(16u << 10);  // the largest record
  for (;;) {
    ::ERR_clear_error();
    const int n = ::SSL_read(ssl_, buffer_.data(), static_cast<int>(buffer_.size()));
    if (n > 0) {
      plain({buffer_.data(), static_cast<size_t>(n)});
      continue;
    }
    const int error = ::SSL_get_error(ssl_, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN) return {};
    return Failure("the database's TLS");
  }
}

Result<void> TlsEngine::Encrypt(std::string_view plain) {
  while (!plain.empty()) {
    ::ERR_clear_error();
    const int n = ::SSL_write(ssl_, plain.data(), static_cast<int>(plain.size()));
    if (n <= 0) return Failure("the database's TLS");
    plain.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

std::string_view TlsEngine::output() const {
  char* data = nullptr;
  const long size = ::BIO_get_mem_data(out_, &data);
  return {data, size > 0 ? static_cast<size_t>(size) : 0};
}

void TlsEngine::ClearOutput() { (void)BIO_reset(out_); }

}  // namespace carrel::gateway
