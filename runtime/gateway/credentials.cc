#include "gateway/credentials.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

namespace carrel::gateway {
namespace {

constexpr size_t kMaxBytes = 4000;

Result<UniqueFd> OpenSource(const std::string& file, const std::string& systemd_credential) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  if (!file.empty()) return OpenPath(file, kFlags);
  const char* directory = ::secure_getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr || directory[0] != '/')
    return BadInput("credentials", "CREDENTIALS_DIRECTORY is not set",
                    "Start carrel from a unit with LoadCredential=");
  if (!IsSafeComponent(systemd_credential))
    return BadInput("credentials", "not the name of a credential: " + systemd_credential);
  CARREL_ASSIGN(const UniqueFd dir, OpenPath(directory, O_PATH | O_DIRECTORY));
  return OpenBeneath(dir.get(), systemd_credential, kFlags);
}

// An object of two strings. The project's JSON reader isn't used, as it leaves copies of what it
// reads in freed memory; here the strings' escapes are undone in place, in the locked pages.
class Object {
 public:
  Object(char* begin, size_t size) : at_(begin), end_(begin + size) {}

  bool Read() {
    if (!Take('{')) return false;
    do {
      std::string_view name, value;
      if (!String(name) || !Take(':') || !String(value)) return false;
      std::string_view* target = name == "user" ? &user : name == "password" ? &password : nullptr;
      if (target == nullptr || target->data() != nullptr) return false;
      *target = value;
    } while (Take(','));
    return Take('}') && (Space(), at_ == end_) && !user.empty() && !password.empty();
  }

  std::string_view user, password;

 private:
  void Space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }
  bool Take(char wanted) {
    Space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  bool String(std::string_view& text) {
    if (!Take('"')) return false;
    char* const begin = at_;
    char* to = at_;
    while (at_ < end_ && *at_ != '"') {
      if (static_cast<unsigned char>(*at_) < 0x20) return false;
      if (*at_ != '\\')
        *to++ = *at_++;
      else if (!Escape(to))
        return false;
    }
    if (at_ == end_) return false;
    ++at_;
    text = {begin, static_cast<size_t>(to - begin)};
    return true;
  }

  bool Escape(char*& to) {
    if (end_ - at_ < 2) return false;
    const char kind = at_[1];
    at_ += 2;
    static constexpr std::string_view kShort = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    if (const size_t found = kShort.find(kind); found != std::string_view::npos) {
      *to++ = kMeant[found];
      return true;
    }
    return kind == 'u' && Unicode(to);
  }

  // \uXXXX of the basic plane, as UTF-8, which is never longer than its escape.
  bool Unicode(char*& to) {
    if (end_ - at_ < 4) return false;
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      static constexpr std::string_view kDigits = "0123456789abcdef";
      const size_t digit = kDigits.find(*at_ >= 'A' && *at_ <= 'F' ? *at_ + 32 : *at_);
      if (digit == std::string_view::npos) return false;
      code = code * 16 + static_cast<uint32_t>(digit);
    }
    if (code == 0 || (code >= 0xd800 && code <= 0xdfff)) return false;
    if (code < 0x80) {
      *to++ = static_cast<char>(code);
    } else if (code < 0x800) {
      *to++ = static_cast<char>(0xc0 | code >> 6);
      *to++ = static_cast<char>(0x80 | (code & 0x3f));
    } else {
      *to++ = static_cast<char>(0xe0 | code >> 12);
      *to++ = static_cast<char>(0x80 | (code >> 6 & 0x3f));
      *to++ = static_cast<char>(0x80 | (code & 0x3f));
    }
    return true;
  }

  char* at_;
  char* const end_;
};

Result<Credentials> Load(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SysFault("", "fstat");
  if (!S_ISREG(info.st_mode)) return BadInput("", "the credentials are no regular file");
  if (info.st_uid != 0 && info.st_uid != ::geteuid())
    return BadInput("", "the credentials belong to another user", "chown root FILE");
  if ((info.st_mode & 077) != 0)
    return BadInput("", "the credentials are open to group or others", "chmod 0400 FILE");
  CARREL_ASSIGN(Secret bytes, Secret::Read(fd, kMaxBytes));
  Object object(bytes.data(), bytes.view().size());
  if (!object.Read())
    return BadInput("", "the credentials must be {\"user\": ..., \"password\": ...}, two strings");
  Credentials credentials;
  credentials.user = object.user;
  CARREL_ASSIGN(credentials.password, Secret::Of(object.password));
  return credentials;
}

}  // namespace

Result<Credentials> LoadCredentials(const std::string& file,
                                    const std::string& systemd_credential) {
  const std::string where = file.empty() ? "credential " + systemd_credential : file;
  auto fd = OpenSource(file, systemd_credential);
  auto loaded = fd ? Load(fd->get()) : std::move(fd).error();
  if (loaded) return loaded;
  Error error = std::move(loaded).error();
  error.kind = ErrorKind::kBadInput;
  if (error.where != "credentials") error.where = where;
  return error;
}

}  // namespace carrel::gateway
