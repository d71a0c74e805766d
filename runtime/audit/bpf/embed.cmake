# INPUT as a C++ array, with its SHA-256.
file(READ ${INPUT} hex HEX)
file(SHA256 ${INPUT} digest)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "#include \"audit/bpf_objects.h\"
namespace carrel {
alignas(8) const unsigned char kBpfObject[] = {${bytes}};
const unsigned long kBpfObjectSize = sizeof kBpfObject;
const char kBpfObjectDigest[] = \"${digest}\";
}  // namespace carrel
")
