"""A folder with the outline of a TFLM source tree, whose interpreter copies its input.

It declares the part of TFLM's public interface that a module uses, so that the module's source, the
search of the tree and the whole way to the simulator are tried; it says nothing about TFLM itself.
"""

from __future__ import annotations

from pathlib import Path

BYTES = 24
"""Bytes of the one input and the one output that the interpreter has."""

_INTERPRETER_H = """
#pragma once
#include <cstddef>
#include <cstdint>
#include "flatbuffers/flatbuffers.h"
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
union TfLitePtrUnion { void *raw; int8_t *int8; };
struct TfLiteTensor { TfLitePtrUnion data; size_t bytes; };
namespace tflite {
struct Model;
class MicroOpResolver { public: virtual unsigned added() const = 0; };
class MicroInterpreter {
 public:
  MicroInterpreter(const Model *model, const MicroOpResolver &resolver, uint8_t *arena,
                   size_t size);
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor *input(size_t index);
  TfLiteTensor *output(size_t index);
 private:
  const Model *model_;
  const MicroOpResolver &resolver_;
  uint8_t *arena_;
  size_t size_;
  TfLiteTensor tensors_[2];
};
}  // namespace tflite
"""
_INTERPRETER_CC = f"""
#include "tensorflow/lite/micro/micro_interpreter.h"
#include <cstring>
namespace tflite {{
MicroInterpreter::MicroInterpreter(const Model *model, const MicroOpResolver &resolver,
                                   uint8_t *arena, size_t size)
    : model_(model), resolver_(resolver), arena_(arena), size_(size) {{}}
TfLiteStatus MicroInterpreter::AllocateTensors() {{
  if (model_ == nullptr || resolver_.added() != 1 || size_ < {2 * BYTES}) return kTfLiteError;
  tensors_[0].data.raw = arena_;
  tensors_[1].data.raw = arena_ + {BYTES};
  tensors_[0].bytes = tensors_[1].bytes = {BYTES};
  return kTfLiteOk;
}}
TfLiteStatus MicroInterpreter::Invoke() {{
  std::memcpy(tensors_[1].data.raw, tensors_[0].data.raw, {BYTES});
  return kTfLiteOk;
}}
TfLiteTensor *MicroInterpreter::input(size_t) {{ return &tensors_[0]; }}
TfLiteTensor *MicroInterpreter::output(size_t) {{ return &tensors_[1]; }}
}}  // namespace tflite
"""
_RESOLVER_H = """
#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace tflite {
template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  TfLiteStatus AddReshape() { return ++added_ <= tOpCount ? kTfLiteOk : kTfLiteError; }
  unsigned added() const override { return added_; }
 private:
  unsigned added_ = 0;
};
}  // namespace tflite
"""
_SCHEMA_H = """
#pragma once
namespace tflite {
struct Model;
inline const Model *GetModel(const void *data) { return static_cast<const Model *>(data); }
}  // namespace tflite
"""
_FILES = {
    "tensorflow/lite/micro/micro_interpreter.h": _INTERPRETER_H,
    "tensorflow/lite/micro/micro_interpreter.cc": _INTERPRETER_CC,
    "tensorflow/lite/micro/micro_interpreter_test.cc": "#error tests are not part of a module\n",
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": _RESOLVER_H,
    "tensorflow/lite/schema/schema_generated.h": _SCHEMA_H,
    "third_party/flatbuffers/include/flatbuffers/flatbuffers.h": "#pragma once\n",
}


def make(root: Path) -> Path:
    """Write the tree below `root`; return it."""
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    return root
