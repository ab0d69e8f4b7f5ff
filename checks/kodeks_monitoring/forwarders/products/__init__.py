"""One module a product, named as `--product` names it (`_` for `-`). PRODUCT is all that is known of it."""
