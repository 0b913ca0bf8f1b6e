// Of Metal 4's primitives the products of matrices that a simdgroup holds.
#pragma once
#include "../zm/tensor_ops.h"
