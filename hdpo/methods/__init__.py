"""Training methods, one file each. A file `my_method.py` here is the method `my-method` of study files."""
