"""What the compiler did with a kernel, and why, in words: `kernel.explain(...)`."""
