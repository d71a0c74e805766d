// What the store knows of one image: a small file, read in the start path.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "image/image_store.h"

namespace carrel {

/// The members that the record and the command line both show: everything in the image but its
/// names and its rootfs.
OrderedJson ImageMembers(const Image& image);

/// JSON text of everything in the image but its names and its rootfs, which depend on the store.
std::string EncodeRecord(const Image& image);

/// Strict: kFault for anything else than EncodeRecord has made.
Result<Image> DecodeRecord(const std::string& text, const std::string& where);

}  // namespace carrel
