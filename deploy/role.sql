-- The role that runs use: it reads the tables of models/sources.yml and makes temporary tables.
-- Change the password and the database's name, then: psql "$ADMIN_URL" -f deploy/role.sql
create role push_audiences login password 'change-me' connection limit 5;
alter role push_audiences set default_transaction_read_only to on;
grant connect, temporary on database marketplace to push_audiences;
grant usage on schema public to push_audiences;
grant select on
    public.attribute_preferences,
    public.attribute_values,
    public.attributes,
    public.desired_items,
    public.inventory_items,
    public.offer_items,
    public.offers,
    public.product_variants,
    public.products,
    public.trades,
    public.user_activities,
    public.user_preferences,
    public.users,
    public.wishlist_items
to push_audiences;

-- Before PostgreSQL 15 every role may also create tables in public. This ends that for all roles:
-- revoke create on schema public from public;
